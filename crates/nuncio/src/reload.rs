//! `nuncio reload`: has a running process read its configuration again.

use crate::admin_client;
use crate::cli::ReloadArgs;
use std::{
    fs,
    process::{Command, ExitCode},
};

/// Has a running process reload: through its admin interface, which answers, or by SIGHUP, which does not.
pub(crate) fn reload(args: &ReloadArgs) -> ExitCode {
    if let Some(address) = &args.admin {
        return match admin_client::ask(address, "POST", "/reload") {
            Ok((true, outcome)) => {
                print!("{outcome}");
                ExitCode::SUCCESS
            }
            Ok((false, why)) => {
                eprintln!("error: refused; the running configuration stays\n{}", why.trim_end());
                ExitCode::FAILURE
            }
            Err(error) => {
                eprintln!("error: cannot ask the admin interface at {address}: {error}");
                ExitCode::FAILURE
            }
        };
    }
    let pids = match args.pid {
        Some(pid) => vec![pid],
        None => running(),
    };
    match pids.as_slice() {
        [pid] => match Command::new("kill").args(["-HUP", &pid.to_string()]).status() {
            Ok(status) if status.success() => {
                println!("told process {pid} to reload; its log says what changed (--admin ADDRESS asks and waits for the answer)");
                ExitCode::SUCCESS
            }
            _ => {
                eprintln!("error: cannot signal process {pid}");
                ExitCode::FAILURE
            }
        },
        [] => {
            eprintln!("error: no other nuncio process found; name one with --pid");
            ExitCode::FAILURE
        }
        several => {
            eprintln!("error: several nuncio processes run ({several:?}); name one with --pid");
            ExitCode::FAILURE
        }
    }
}

/// Other processes of this program that have not become something else.
fn running() -> Vec<u32> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != own)
        .filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "nuncio"))
        .collect()
}
