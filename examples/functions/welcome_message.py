"""POST_USER_CREATE: runs after the user was saved; a real one would send an e-mail."""


def main(params):
    call = params["__function__"]
    print(f"Welcome {params['first_name']} <{params['email']}>, you are user {params['id']}")
    return {"sent_to": params["email"], "attempt": call["attempt"]}
