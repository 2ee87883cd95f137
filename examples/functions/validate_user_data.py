"""PRE_USER_CREATE: refuses addresses of blocked domains."""

BLOCKED = {"blocked.example", "mailinator.com"}


def main(params, user_data, sdk_client):
    domain = params["email"].rsplit("@", 1)[-1].lower()
    log(f"checking {params['username']} at {domain}")
    if domain in BLOCKED:
        return {
            "success": False,
            "error": f"Addresses at {domain} are not accepted",
            "errors": {"email": "Use another address"},
        }
    return {"success": True}
