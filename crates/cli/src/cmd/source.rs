//! The file with a function's code: what can be read, what cannot and why, and where it is wrong.

use super::folder::{self, Folder};
use crate::AnyError;
use crate::config::did_you_mean;
use crate::terminal::Fault;
use std::io::Read as _;
use std::path::Path;
use tollgate_core::functions::Environment;
use tollgate_core::limits;
use unicode_width::UnicodeWidthStr as _;

/// Code with the name of where it came from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    /// The file's name without folder and ending; none for standard input.
    pub(super) stem: Option<String>,
    /// The files around it, of a function in a folder.
    pub(super) folder: Option<Folder>,
    /// The language, by the file's ending; none for standard input.
    pub(super) environment: Option<Environment>,
}

impl Source {
    /// Reads a file, a folder with this entry point, or standard input for `-`.
    pub(super) fn read(path: &Path, entrypoint: Option<&str>) -> Result<Self, AnyError> {
        if path.is_dir() {
            return folder::read(path, entrypoint);
        }
        let name = path.display().to_string();
        let (mut bytes, mut environment) = (Vec::new(), None);
        let most = limits::CODE_BYTES as u64;
        if path == Path::new("-") {
            std::io::stdin()
                .lock()
                .take(most + 1)
                .read_to_end(&mut bytes)?;
        } else {
            environment = Some(usable(path, &name)?);
            let file = std::fs::File::open(path).map_err(|error| cannot(&name, &error))?;
            file.take(most + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| cannot(&name, &error))?;
        }
        if bytes.len() as u64 > most {
            return Err(
                format!("{name} is larger than {most} bytes, which is the most for code").into(),
            );
        }
        let stem = path.file_stem().filter(|_| name != "-");
        Ok(Self {
            text: decode(&name, bytes)?,
            stem: stem.map(|stem| stem.to_string_lossy().into_owned()),
            name,
            folder: None,
            environment,
        })
    }

    /// An error with the line that it is about, and a caret below the place.
    pub(super) fn wrong(&self, message: &str, line: Option<u64>, column: Option<u64>) -> AnyError {
        let Some(line) = line.filter(|line| *line > 0) else {
            return format!("{}: {message}", self.name).into();
        };
        let mut place = format!("{}:{line}", self.name);
        let Some(code) = usize::try_from(line - 1)
            .ok()
            .and_then(|at| self.text.lines().nth(at))
        else {
            return format!("{place}: {message}").into();
        };
        let code = code.trim_end();
        let mut below = format!("{line} | {}", code.replace('\t', "    "));
        if let Some(column) = column.filter(|column| *column > 0) {
            place += &format!(":{column}");
            let before = usize::try_from(column - 1).unwrap_or(usize::MAX);
            let before: String = code.chars().take(before).collect();
            // As wide as it is shown, with what is shown by its name.
            let shown = crate::terminal::harmless::shown(before.replace('\t', "    "));
            let margin = " ".repeat(line.to_string().len());
            below += &format!("\n{margin} | {}^", " ".repeat(shown.width()));
        }
        Fault::new(format!("{place}: {message}"), below).into()
    }
}

fn cannot(name: &str, error: &std::io::Error) -> String {
    format!("cannot read {name}: {error}")
}

/// The language of a file, or what a path is that cannot hold code.
fn usable(path: &Path, name: &str) -> Result<Environment, AnyError> {
    let found = match std::fs::metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("there is no file {name}{}", neighbours(path)).into());
        }
        Err(error) => return Err(cannot(name, &error).into()),
    };
    if !found.is_file() {
        return Err(format!(
            "{name} is no ordinary file; pipe the code in and say - for standard input"
        )
        .into());
    }
    let ending = path
        .extension()
        .map(|ending| ending.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("py") => Ok(Environment::Python),
        Some("js" | "mjs" | "cjs" | "ts" | "mts" | "cts") => Ok(Environment::Node),
        Some("zip" | "gz" | "tar" | "whl" | "tgz") => {
            Err(format!("{name} is an archive; a function is one file, or a folder").into())
        }
        _ => Err(format!(
            "{name} is neither Python nor JavaScript: a function's code is in a file that ends in .py, \
             .mjs, .cjs, .js or .ts"
        )
        .into()),
    }
}

/// How files with code end.
pub(super) const ENDINGS: [&str; 7] = [".py", ".mjs", ".cjs", ".js", ".ts", ".mts", ".cts"];

/// What a missing file may be called instead.
fn neighbours(path: &Path) -> String {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let Ok(entries) = std::fs::read_dir(folder.unwrap_or(Path::new("."))) else {
        return String::new();
    };
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    let names: Vec<_> = names
        .filter(|name| ENDINGS.iter().any(|ending| name.ends_with(ending)))
        .take(1000)
        .collect();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    did_you_mean(&name, names.iter().map(String::as_str))
}

/// UTF-8, with or without a byte-order mark.
pub(super) fn decode(name: &str, bytes: Vec<u8>) -> Result<String, AnyError> {
    let many_zeros = bytes.iter().take(64).filter(|byte| **byte == 0).count() >= 2;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(format!("{name} is UTF-16 text; save it as UTF-8").into());
    }
    if bytes.contains(&0) {
        let kind = if many_zeros
            && bytes
                .iter()
                .all(|byte| matches!(byte, 0 | b'\t'..=b'\r' | b' '..=b'~'))
        {
            "UTF-16 text, or binary"
        } else {
            "binary"
        };
        return Err(format!("{name} is {kind}; a function's code is UTF-8 text").into());
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        format!("{name} is not UTF-8 text: byte {at}, in line {line}; save it as UTF-8")
    })?;
    let text = text
        .strip_prefix('\u{feff}')
        .map(str::to_owned)
        .unwrap_or(text);
    if text.trim().is_empty() {
        return Err(format!("{name} is empty; a function's code defines `main`").into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_kinds_of_file_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let write = |name: &str, bytes: &[u8]| std::fs::write(path(name), bytes).unwrap();
        write("good.py", b"\xef\xbb\xbfdef main(params): pass\n");
        write("empty.py", b" \n");
        write("binary.py", b"\x7fELF\x02\x00\x81");
        write("utf16.py", b"\xff\xfed\x00e\x00f\x00");
        write("utf16-without-mark.py", b"d\x00e\x00f\x00");
        write("latin1.py", b"# caf\xe9\n");
        write("big.py", &vec![b'#'; limits::CODE_BYTES + 1]);
        write("code.js.txt", b"x");
        write("code.mjs", b"export default () => 1;\n");
        write("code.txt", b"x");
        write("code", b"x");
        std::fs::create_dir(path("folder.py")).unwrap();
        for (name, says) in [
            ("empty.py", "is empty"),
            ("binary.py", "is binary"),
            ("utf16.py", "is UTF-16"),
            ("utf16-without-mark.py", "UTF-16"),
            ("latin1.py", "not UTF-8 text: byte 5, in line 1"),
            ("big.py", "is larger than"),
            ("code.js.txt", "neither Python nor JavaScript"),
            ("code.txt", "neither Python nor JavaScript"),
            ("code", "neither Python nor JavaScript"),
            ("folder.py", "has no main.py"),
            ("goood.py", "did you mean `good.py`?"),
        ] {
            let error = Source::read(&path(name), None).unwrap_err().to_string();
            assert!(error.contains(says), "{name}: {error}");
        }
        let error = Source::read(Path::new("/dev/zero"), None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("no ordinary file"), "{error}");
        let good = Source::read(&path("good.py"), None).unwrap();
        assert_eq!(good.text, "def main(params): pass\n");
        assert_eq!(good.environment, Some(Environment::Python));
        let node = Source::read(&path("code.mjs"), None).unwrap();
        assert_eq!(node.environment, Some(Environment::Node));
    }
}
