"""PRE_USER_CREATE: fills in a name from the address and notes where the user came from."""


def main(params):
    local, domain = params["email"].split("@", 1)
    patch = {"attributes": {"company": domain.split(".")[0].capitalize(), "plan": "free"}}
    if not params["first_name"]:
        patch["first_name"] = local.split(".")[0].capitalize()
    log("enriched", level="info")
    return {"params": patch}
