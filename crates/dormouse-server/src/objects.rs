//! `dormouse objects`, `check` and `repair`: looking into a data folder, with or beside a server.

pub(crate) mod control;
mod describe;

use std::io::{BufRead as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use dormouse::Kinds;
use dormouse_store::{Store, StoreOptions};
use serde_json::Value;

use crate::cli::{FolderArgs, ObjectsArgs, ObjectsCommand, RepairArgs};
use crate::objects::control::Request;

/// How often `check` says how far it is, in objects.
const PROGRESS_EVERY: u64 = 1_000;

/// Lists or shows objects: asks the server if one runs, and opens the folder itself if none does.
///
/// # Errors
///
/// There is no such folder or object, or it cannot be read.
pub(crate) fn run(args: &ObjectsArgs, kinds: Kinds) -> Result<(), anyhow::Error> {
    let (folder, request, json) = match &args.command {
        ObjectsCommand::List { folder, kind, after, limit, json } => {
            let (kind, after) = (kind.clone(), after.clone());
            (folder, Request::List { kind, after, limit: *limit }, *json)
        }
        ObjectsCommand::Show { object, folder, json } => {
            let (kind, id) = object
                .split_once('/')
                .ok_or_else(|| anyhow!("write the object as <kind>/<id>, not {object:?}"))?;
            (folder, Request::Show { kind: kind.to_owned(), id: id.to_owned() }, *json)
        }
    };
    let answer = match control::ask(&folder.data, &request)? {
        Some(answer) => answer,
        None => {
            let store = open(&folder.data)?;
            let answer = describe::answer(&store, &kinds, None, &request);
            store.shut_down()?;
            answer
        }
    };
    let objects = answer.map_err(|message| anyhow!(message))?;
    let mut out = std::io::stdout().lock();
    for object in objects {
        let text = if json { object.to_string() } else { for_people(&object) };
        writeln!(out, "{text}")?;
    }
    Ok(())
}

/// Checks every object of a folder that no server uses.
///
/// # Errors
///
/// The folder is in use or cannot be read, or something is damaged.
pub(crate) fn check(args: &FolderArgs) -> Result<(), anyhow::Error> {
    let mut out = std::io::stdout().lock();
    let report = dormouse_store::check::all(&args.data, &mut |done| {
        if done % PROGRESS_EVERY == 0 {
            // Progress that nobody reads is no reason to stop.
            _ = writeln!(out, "{done} objects checked");
        }
    })?;
    for defect in &report.defects {
        writeln!(out, "{}: {}", defect.path.display(), defect.what)?;
    }
    writeln!(out, "{} objects checked, {} damaged", report.objects, report.defects.len())?;
    if report.defects.is_empty() { Ok(()) } else { bail!("some objects are damaged") }
}

/// Says what is wrong with a folder, asks, and mends it.
///
/// # Errors
///
/// The folder is in use or cannot be read, or nobody said yes.
pub(crate) fn repair(args: &RepairArgs) -> Result<(), anyhow::Error> {
    let folder = &args.folder.data;
    let plan = dormouse_store::repair::plan(folder)?;
    let mut out = std::io::stdout().lock();
    if plan.findings.is_empty() {
        writeln!(out, "nothing to repair")?;
        return Ok(());
    }
    for finding in &plan.findings {
        writeln!(out, "{finding}")?;
    }
    if !args.yes {
        write!(out, "Repair it? A copy of what changes is kept. [y/N] ")?;
        out.flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            bail!("nothing was changed");
        }
    }
    dormouse_store::repair::apply(folder, &plan)?;
    writeln!(out, "repaired")?;
    Ok(())
}

fn open(folder: &Path) -> Result<Store, anyhow::Error> {
    if !folder.is_dir() {
        bail!("there is no data folder at {}", folder.display());
    }
    Store::open(StoreOptions::new(folder))
        .with_context(|| format!("cannot read {}", folder.display()))
}

/// One line: the name, then what is known. Below it messages that were given up.
fn for_people(object: &Value) -> String {
    let field = |name: &str| match &object[name] {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let name = format!("{}/{}", field("kind"), field("id"));
    let line =
        ["createdAt", "lastActiveAt", "sizeBytes", "resident", "sockets", "epoch", "summary"]
            .into_iter()
            .filter(|name| object.get(name).is_some_and(|value| !value.is_null()))
            .fold(name, |line, name| format!("{line}  {name}={}", field(name)));
    let letters = object["deadLetters"].as_array().into_iter().flatten();
    letters.fold(line, |lines, letter| {
        let field = |name: &str| letter[name].as_str().unwrap_or("-");
        format!(
            "{lines}\n  given up at {}: to {}: {}\n    {}",
            field("givenUpAt"),
            field("receiver"),
            field("message"),
            field("error"),
        )
    })
}
