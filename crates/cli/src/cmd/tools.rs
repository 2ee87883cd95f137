//! Completion scripts and manual pages, made of the command line's own definition.

use crate::CommandResult;
use crate::args::Cli;
use crate::terminal::{Terminal, plural};
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::path::Path;

pub(super) fn completions(terminal: &Terminal, shell: Shell) -> CommandResult {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tollgate", &mut script);
    terminal.verbatim(&String::from_utf8(script)?)?;
    Ok(())
}

pub(super) fn man(terminal: &Terminal, dir: &Path) -> CommandResult {
    std::fs::create_dir_all(dir)
        .map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    let mut command = Cli::command();
    command.build();
    let mut pages = 0;
    write(command, "tollgate", dir, &mut pages)?;
    terminal.note(format!(
        "wrote {} to {}",
        plural(pages, "page"),
        dir.display()
    ));
    Ok(())
}

/// The page of a command and those of the commands below it: `tollgate-function-deploy.1`.
fn write(command: clap::Command, name: &str, dir: &Path, pages: &mut u64) -> CommandResult {
    for sub in command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help")
    {
        write(
            sub.clone(),
            &format!("{name}-{}", sub.get_name()),
            dir,
            pages,
        )?;
    }
    let mut page = Vec::new();
    // What the shell is given: `tollgate function deploy`.
    let spoken = name.to_owned();
    let command = command.name(spoken.clone()).display_name(spoken);
    clap_mangen::Man::new(command).render(&mut page)?;
    let path = dir.join(format!("{name}.1"));
    std::fs::write(&path, page)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    *pages += 1;
    Ok(())
}
