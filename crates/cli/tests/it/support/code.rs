//! Functions that the tests deploy.

use std::path::Path;

/// Agrees to everything.
pub(crate) const AGREE: &str = "def main(params):\n    return {\"success\": True}\n";

/// Gives back what it was given.
pub(crate) const ECHO: &str =
    "def main(params):\n    params.pop('__function__')\n    return params\n";

/// Never ends by itself.
pub(crate) const BLOCK: &str = "\
import threading

def main(params):
    print('blocking')
    threading.Event().wait()
";

/// Ends once a file exists.
pub(crate) fn until_exists(file: &Path) -> String {
    format!(
        "\
import os, time

def main(params):
    print('waiting')
    while not os.path.exists({file:?}):
        time.sleep(0.005)
    return {{'for': params.get('username')}}
"
    )
}

/// Ends once the user `go` exists: what a function behind walls can see of a test.
pub(crate) const UNTIL_USER: &str = "\
import time

def main(params, user_data, sdk_client):
    print('waiting')
    while True:
        try:
            sdk_client.users.get('go')
            return
        except PlatformError:
            time.sleep(0.005)
";
