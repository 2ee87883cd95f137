"""The official client, unmodified, against a running server: argv[1] is its address."""

import sys

from taruvi import Client
from taruvi.exceptions import AuthenticationError, AuthorizationError, NotFoundError
from taruvi.exceptions import NotAuthenticatedError, ValidationError

URL = sys.argv[1]
PASSWORD = "correct horse"


def refused(error, call):
    try:
        call()
    except error as raised:
        return raised
    raise AssertionError(f"{error.__name__} was not raised")


anonymous = Client(api_url=URL, app_slug="user-management", mode="sync", max_retries=0)
refused(NotAuthenticatedError, anonymous.auth.get_current_user)
refused(AuthenticationError, lambda: anonymous.auth.signInWithPassword("root@default.example", "x"))

root = anonymous.auth.signInWithPassword("root@default.example", PASSWORD)
assert root.auth.get_current_user()["data"]["username"] == "root"

created = root.users.create({
    "username": "alice", "email": "alice@example.com", "password": PASSWORD,
    "confirm_password": PASSWORD, "first_name": "Alice", "attributes": '{"department": 7}',
})
assert created["data"]["attributes"] == {"department": 7}
assert root.users.get("alice")["data"]["email"] == "alice@example.com"
assert root.users.update("alice", {"last_name": "Smith"})["data"]["full_name"] == "Alice Smith"
listed = root.users.list(is_active=True, search="ali", page=1, page_size=20, ordering="-date_joined")
assert [user["username"] for user in listed["data"]] == ["alice"] and listed["total"] == 1
refused(ValidationError, lambda: root.users.create({"username": "a b", "email": "x"}))
refused(NotFoundError, lambda: root.users.get("nobody"))

assert root.users.get_preferences()["data"]["theme"] == "light"
preferences = root.users.update_preferences({"theme": "dark", "timezone": "Asia/Kolkata"})
assert preferences["data"]["theme"] == "dark" and preferences["data"]["time_format"] == "24h"
assert root.users.get_preferences()["data"]["timezone"] == "Asia/Kolkata"

roles = root.app.roles()["data"]
assert {role["slug"] for role in roles} >= {"user-management:developer"}
assigned = root.users.assign_roles(["user-management:developer", "viewer"], ["alice"])
assert assigned["message"] == "Assigned 2 roles successfully"
assert [app["slug"] for app in root.users.apps("alice")] == ["user-management"]

alice = anonymous.auth.signInWithPassword("alice@example.com", PASSWORD)
refused(AuthorizationError, lambda: alice.users.create({"username": "b", "email": "b@example.com"}))
done = alice.functions.execute("validate-user-data", params={"username": "x"})
assert done["data"] == {"checked": "x"} and done["queued"] is False
queued = alice.functions.execute("validate-user-data", {"username": "y"}, is_async=True)
task = queued["invocation"]["celery_task_id"]
result = alice.functions.get_result(task)
assert result["data"]["task_id"] == task
assert alice.functions.get("validate-user-data")["slug"] == "validate-user-data"
assert alice.functions.list()["total"] == 2
one = alice.functions.get_invocation(str(done["invocation"]["id"]))
assert one["task_result"]["result"] == {"checked": "x"}
runs = alice.functions.list_invocations(function_slug="validate-user-data", limit=1)
assert len(runs["data"]) == 1 and runs["total"] == 2
failed = refused(ValidationError, lambda: alice.functions.execute("broken"))
assert failed.code == "FUNCTION_FAILED" and "it broke" in str(failed)

revoked = root.users.revoke_roles(["user-management:developer"], ["alice"])
assert revoked["message"] == "Revoked 1 roles successfully"
refused(AuthorizationError, lambda: alice.functions.execute("validate-user-data"))
root.users.delete("alice")
refused(AuthenticationError, alice.auth.get_current_user)
assert isinstance(refused(NotAuthenticatedError, anonymous.auth.signOut().auth.get_current_user), Exception)
print("ok")
