//! The commands: data on stdout, everything else on stderr, and a failure that says why.

mod admin;
mod backup;
mod bench;
mod config;
mod daily;
mod data_folder;
mod dead_letters;
mod deploy;
mod digits;
mod functions;
mod hostile;
mod hosts;
mod local_run;
mod machine;
mod tail;
