// What a function may ask of the platform: `client`, with the methods of Python's `sdk_client`.
//
// Holds no credential: each request goes over the worker's socket, and the server answers with the
// rights of whoever caused the call.
'use strict';

const { Http } = require('./http.js');
const { toJson } = require('./results.js');

/** The platform refused a request of the function. */
class PlatformError extends Error {
  name = 'PlatformError';

  constructor(code, status, message) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** Sends requests over the worker's socket. */
class Platform {
  appSlug = null;
  #channel;

  constructor(channel) {
    this.#channel = channel;
  }

  async call(method, args = {}) {
    const given = Object.entries(args).filter(([, value]) => value !== undefined && value !== null);
    const answer = await this.#channel.request(method, toJson(Object.fromEntries(given), 'the request'));
    const { error } = answer;
    if (error) throw new PlatformError(error.code, error.status, error.message);
    return answer.ok ?? null;
  }

  /** The same for requests that name an app: the function's own unless another is given. */
  callInApp(method, appSlug, args = {}) {
    return this.call(method, { app_slug: appSlug ?? this.appSlug, ...args });
  }
}

/** `{isActive: true}` as the API has it: `{is_active: true}`. */
function snaked(options = {}) {
  const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(options).map(([name, value]) => [snake(name), value]));
}

/** What `main` is given as `client`. */
function makeClient(platform) {
  const call = platform.call.bind(platform);
  const inApp = platform.callInApp.bind(platform);
  return Object.freeze({
    PlatformError,
    users: Object.freeze({
      get: (username) => call('users.get', { username }),
      list: (filters) => call('users.list', snaked(filters)),
      create: (data) => call('users.create', { data }),
      update: (username, data) => call('users.update', { username, data }),
      delete: async (username) => {
        await call('users.delete', { username });
      },
      apps: (username) => call('users.apps', { username }),
      assignRoles: (roles, usernames, { expiresAt } = {}) =>
        call('users.assign_roles', { roles, usernames, expires_at: expiresAt }),
      revokeRoles: (roles, usernames) => call('users.revoke_roles', { roles, usernames }),
    }),
    functions: Object.freeze({
      execute: (slug, params = {}, { appSlug, isAsync, timeout } = {}) =>
        inApp('functions.execute', appSlug, {
          function_slug: slug, params: params ?? {}, is_async: isAsync, timeout,
        }),
      get: (slug, { appSlug } = {}) => inApp('functions.get', appSlug, { function_slug: slug }),
      list: ({ appSlug, limit = 100, offset = 0 } = {}) =>
        inApp('functions.list', appSlug, { limit, offset }),
      getResult: (taskId) => call('functions.get_result', { task_id: String(taskId) }),
      getInvocation: (id) => call('functions.get_invocation', { invocation_id: id }),
      listInvocations: ({ functionSlug, status, limit = 100, offset = 0 } = {}) =>
        call('functions.list_invocations', { function_slug: functionSlug, status, limit, offset }),
    }),
    secrets: Object.freeze({
      get: (key, { app, tags } = {}) => call('secrets.get', { key, app, tags }),
      list: (keys, filters) => call('secrets.list', { keys, ...snaked(filters) }),
    }),
    events: Object.freeze({
      publish: (name, params = {}) => call('events.publish', { name, params: params ?? {} }),
    }),
    app: Object.freeze({
      settings: ({ appSlug } = {}) => inApp('app.settings', appSlug),
      roles: ({ appSlug } = {}) => inApp('app.roles', appSlug),
    }),
    auth: Object.freeze({ getCurrentUser: () => call('auth.get_current_user') }),
    http: Object.freeze(new Http(platform)),
  });
}

module.exports = { Platform, PlatformError, makeClient };
