"""The official client against `serve --demo`: URL, e-mail, password and API key are arguments."""

import sys

from taruvi import Client
from taruvi.exceptions import AuthenticationError, NotFoundError, ValidationError

URL, EMAIL, PASSWORD, KEY = sys.argv[1:]
FINAL = {"SUCCESS", "FAILURE"}


def refused(error, call):
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was not raised")


def sign_in():
    client = Client(api_url=URL, app_slug="user-management", mode="sync", max_retries=0)
    refused(AuthenticationError, lambda: client.auth.signInWithPassword(EMAIL, "wrong"))
    refused(AuthenticationError,
            client.auth.signInWithToken("tgk_" + "0" * 64, "api_key").auth.get_current_user)
    by_password = client.auth.signInWithPassword(EMAIL, PASSWORD)
    by_key = client.auth.signInWithToken(KEY, token_type="api_key")
    for signed_in in (by_password, by_key):
        assert signed_in.auth.get_current_user()["data"]["email"] == EMAIL
    return by_password, by_key


def users(client):
    created = client.users.create({"username": "alice", "email": "alice@example.com"})
    # The demo's function filled these in.
    assert created["data"]["first_name"] == "Alice", created
    assert created["data"]["attributes"]["plan"] == "free", created
    denied = refused(ValidationError, lambda: client.users.create(
        {"username": "eve", "email": "eve@blocked.example"}))
    assert denied.code == "PRE_EVENT_DENIED", denied.code
    assert "blocked.example are not accepted" in str(denied), denied
    assert client.users.get("alice")["data"]["username"] == "alice"
    updated = client.users.update("alice", {"last_name": "Smith"})
    assert updated["data"]["full_name"] == "Alice Smith", updated
    names = [user["username"] for user in client.users.list(search="alice")["data"]]
    assert names == ["alice"], names
    client.users.delete("alice")
    refused(NotFoundError, lambda: client.users.get("alice"))


def functions(client):
    done = client.functions.execute("double", params={"number": 21})
    assert done["data"] == {"doubled": 42} and done["queued"] is False, done
    queued = client.functions.execute("double", {"number": 4}, is_async=True)
    assert queued["queued"] is True, queued
    task = queued["invocation"]["celery_task_id"]
    # Each question is a round trip, so this neither spins nor sleeps.
    for _ in range(10_000):
        result = client.functions.get_result(task)
        if result["data"]["status"] in FINAL:
            break
    assert result["data"]["status"] == "SUCCESS", result
    assert result["data"]["result"] == {"doubled": 8}, result
    runs = client.functions.list_invocations(function_slug="double")
    assert runs["total"] == 2, runs
    failed = refused(ValidationError, lambda: client.functions.execute("broken"))
    assert failed.code == "FUNCTION_FAILED" and "it broke" in str(failed), failed


def secrets(client):
    """TOKEN and SHARED were set: the app's own and the site's."""
    token = client.secrets.get("TOKEN")
    assert token["value"] == "sk_own" and token["tags"] == ["payment"], token
    assert token["secret_type"] == "api_key" and token["created_at"], token
    # The app has none of its own.
    assert client.secrets.get("SHARED")["value"] == {"user": "u", "password": "p"}
    assert client.secrets.get("TOKEN", app="user-management", tags=["payment"]) == token
    refused(NotFoundError, lambda: client.secrets.get("TOKEN", tags=["other"]))
    refused(NotFoundError, lambda: client.secrets.get("NONE"))
    listed = client.secrets.list()
    assert listed["total"] == 2 and listed["status"] == "success", listed
    assert all("value" not in secret for secret in listed["data"]), listed
    found = client.secrets.list(search="tok", tags=["payment"], secret_type="api_key", page_size=50)
    assert [secret["key"] for secret in found["data"]] == ["TOKEN"], found
    batch = client.secrets.list(keys=["TOKEN", "SHARED"], include_metadata=True)
    values = {secret["key"]: secret["value"] for secret in batch["data"]}
    assert values["TOKEN"] == "sk_own" and len(values) == 2, batch


by_password, by_key = sign_in()
users(by_password)
functions(by_key)
secrets(by_password)
print("ok")
