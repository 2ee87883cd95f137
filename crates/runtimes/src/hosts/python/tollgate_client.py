"""What a function may ask of the platform: `sdk_client`, with the official client's method names.

Holds no credential: each request goes over the worker's socket, and the server answers with the
rights of whoever caused the call.
"""

from tollgate_http import Http


class PlatformError(Exception):
    """The platform refused a request of the function."""

    def __init__(self, code, status, message):
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message


class Platform:
    """Sends requests over the worker's socket and waits for each answer."""

    def __init__(self, channel):
        self.channel = channel
        self.app_slug = None

    def call(self, method, /, **args):
        request = {name: value for name, value in args.items() if value is not None}
        answer = self.channel.request(method, request)
        error = answer.get("error")
        if error is not None:
            raise PlatformError(error["code"], error["status"], error["message"])
        return answer.get("ok")

    def call_in_app(self, method, app_slug=None, **args):
        """The same for requests that name an app: the function's own unless another is given."""
        return self.call(method, app_slug=app_slug or self.app_slug, **args)


class Users:
    def __init__(self, platform):
        self._call = platform.call

    def get(self, username):
        return self._call("users.get", username=username)

    def list(self, **filters):
        return self._call("users.list", **filters)

    def create(self, data):
        return self._call("users.create", data=data)

    def update(self, username, data):
        return self._call("users.update", username=username, data=data)

    def delete(self, username):
        self._call("users.delete", username=username)

    def apps(self, username):
        return self._call("users.apps", username=username)

    def assign_roles(self, roles, usernames, expires_at=None):
        return self._call(
            "users.assign_roles", roles=roles, usernames=usernames, expires_at=expires_at
        )

    def revoke_roles(self, roles, usernames):
        return self._call("users.revoke_roles", roles=roles, usernames=usernames)


class Functions:
    def __init__(self, platform):
        self._call = platform.call
        self._call_in_app = platform.call_in_app

    def execute(self, function_slug, params=None, *, app_slug=None, is_async=None, timeout=None):
        return self._call_in_app(
            "functions.execute", function_slug=function_slug, params=params or {},
            app_slug=app_slug, is_async=is_async, timeout=timeout,
        )  # fmt: skip

    def get_result(self, task_id):
        return self._call("functions.get_result", task_id=str(task_id))

    def list(self, *, app_slug=None, limit=100, offset=0):
        return self._call_in_app("functions.list", app_slug=app_slug, limit=limit, offset=offset)

    def get(self, function_slug, *, app_slug=None):
        return self._call_in_app("functions.get", function_slug=function_slug, app_slug=app_slug)

    def get_invocation(self, invocation_id):
        return self._call("functions.get_invocation", invocation_id=invocation_id)

    def list_invocations(self, *, function_slug=None, status=None, limit=100, offset=0):
        return self._call(
            "functions.list_invocations", function_slug=function_slug, status=status,
            limit=limit, offset=offset,
        )  # fmt: skip


class Secrets:
    def __init__(self, platform):
        self._call = platform.call

    def get(self, key, *, app=None, tags=None):
        return self._call("secrets.get", key=key, app=app, tags=tags)

    def list(self, keys=None, **filters):
        return self._call("secrets.list", keys=keys, **filters)


class Events:
    def __init__(self, platform):
        self._call = platform.call

    def publish(self, name, params=None):
        """Publishes an event type that the function's own app has declared."""
        return self._call("events.publish", name=name, params={} if params is None else params)


class App:
    def __init__(self, platform):
        self._call = platform.call_in_app

    def settings(self, app_slug=None):
        return self._call("app.settings", app_slug=app_slug)

    def roles(self, app_slug=None):
        return self._call("app.roles", app_slug=app_slug)


class Auth:
    def __init__(self, platform):
        self._call = platform.call

    def get_current_user(self):
        return self._call("auth.get_current_user")


class Client:
    """What `main` is given as `sdk_client`."""

    PlatformError = PlatformError

    def __init__(self, platform):
        self.users = Users(platform)
        self.functions = Functions(platform)
        self.secrets = Secrets(platform)
        self.events = Events(platform)
        self.app = App(platform)
        self.auth = Auth(platform)
        self.http = Http(platform)
