//! How types of TypeScript are written.

use serde_json::Value;

use crate::documents::typescript::shape::{Field, Key, Type, Variant};

/// Longest line, in characters, if it can be broken.
const WIDTH_MAX: usize = 120;

/// Spaces for each level.
const STEP: usize = 2;

/// What is exported under a name, after an empty line.
pub(super) fn declaration(name: &str, about: Option<&str>, of: &Type) -> String {
    let about = about.map(|about| docs(about, 0)).unwrap_or_default();
    match of {
        Type::Object { fields, .. } => {
            format!("\n{about}export interface {name} {}\n", block(fields, 0))
        }
        other => {
            let head = format!("export type {name} =");
            let written = write(other, 0, head.len());
            format!("\n{about}{head}{written};\n")
        }
    }
}

/// A comment that editors show, in lines of its own.
pub(super) fn docs(about: &str, indent: usize) -> String {
    let pad = " ".repeat(indent);
    // Nothing in it may end the comment.
    let about = about.replace("*/", "*\\/");
    let lines: Vec<&str> = about.lines().map(str::trim_end).collect();
    match lines.as_slice() {
        [line] => format!("{pad}/** {line} */\n"),
        lines => {
            let body: String = lines
                .iter()
                .map(|line| {
                    if line.is_empty() { format!("{pad} *\n") } else { format!("{pad} * {line}\n") }
                })
                .collect();
            format!("{pad}/**\n{body}{pad} */\n")
        }
    }
}

/// The name of a field, in quotes if it needs them.
pub(super) fn property(name: &str) -> String {
    let is_letter = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '$');
    let is_identifier =
        name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit());
    if is_identifier { name.to_owned() } else { Value::from(name).to_string() }
}

/// Writes a type behind the first `used` columns of a line, with the space or the line's end before it.
/// Further lines begin at `indent`.
fn write(of: &Type, indent: usize, used: usize) -> String {
    match inline(of) {
        Some(line) if used + line.chars().count() + "; ".len() <= WIDTH_MAX => format!(" {line}"),
        line => match of {
            Type::Union(variants) => {
                variants.iter().map(|variant| choice(variant, indent)).collect()
            }
            _ => format!(" {}", broken(of, indent).or(line).unwrap_or_default()),
        },
    }
}

/// One variant of a union, in lines of its own.
fn choice(variant: &Variant, indent: usize) -> String {
    let indent = indent + STEP;
    let about = variant.about.as_deref().map(|about| docs(about, indent)).unwrap_or_default();
    let written = atom(&variant.of, indent + STEP);
    format!("\n{about}{}| {written}", " ".repeat(indent))
}

/// Writes a type in several lines. `None`: it cannot be broken.
fn broken(of: &Type, indent: usize) -> Option<String> {
    Some(match of {
        Type::Word(_) | Type::Unknown(_) => return None,
        Type::Object { fields, .. } => block(fields, indent),
        Type::Union(_) => write(of, indent, WIDTH_MAX),
        Type::Array(item) => format!("{}[]", atom(item, indent)),
        Type::Tuple(items) => {
            let items: Vec<String> = items.iter().map(|item| atom(item, indent)).collect();
            format!("[{}]", items.join(", "))
        }
        Type::Record(value) => format!("Record<string,{}>", write(value, indent, WIDTH_MAX)),
        Type::Intersection(parts) => {
            let parts: Vec<String> = parts.iter().map(|part| atom(part, indent)).collect();
            parts.join(" & ")
        }
    })
}

/// A type as part of another one: in parentheses if it needs them.
fn atom(of: &Type, indent: usize) -> String {
    let line = inline(of).filter(|line| indent + line.chars().count() + "| ();".len() <= WIDTH_MAX);
    match (of, line) {
        (Type::Union(_), Some(line)) | (Type::Intersection(_), Some(line)) => format!("({line})"),
        (_, Some(line)) => line,
        (Type::Union(_), None) => {
            format!("({}\n{})", write(of, indent, WIDTH_MAX), " ".repeat(indent))
        }
        (Type::Intersection(_), None) => format!("({})", broken(of, indent).unwrap_or_default()),
        (_, None) => broken(of, indent).or_else(|| inline(of)).unwrap_or_default(),
    }
}

/// Fields, a line for each.
fn block(fields: &[Field], indent: usize) -> String {
    let mut text = "{\n".to_owned();
    for field in fields {
        let inner = indent + STEP;
        let about = match &field.key {
            Key::Others(reason) => Some(reason),
            Key::Required(_) | Key::Optional(_) => field.about.as_ref(),
        };
        text.extend(about.map(|about| docs(about, inner)));
        let name = format!("{}{}:", " ".repeat(inner), key(&field.key));
        text.push_str(&name);
        text.push_str(&write(&field.of, inner, name.len()));
        text.push_str(";\n");
    }
    text.push_str(&" ".repeat(indent));
    text.push('}');
    text
}

fn key(key: &Key) -> String {
    match key {
        Key::Required(name) => property(name),
        Key::Optional(name) => format!("{}?", property(name)),
        Key::Others(_) => "[key: string]".to_owned(),
    }
}

/// A type in one line. `None`: there are comments in it, or it is meant to have several.
fn inline(of: &Type) -> Option<String> {
    let part = |of: &Type| {
        let line = inline(of)?;
        let needs_parentheses = matches!(of, Type::Union(_) | Type::Intersection(_));
        Some(if needs_parentheses { format!("({line})") } else { line })
    };
    let parts = |parts: &[Type]| parts.iter().map(part).collect::<Option<Vec<String>>>();
    Some(match of {
        Type::Word(word) => word.clone(),
        Type::Unknown(reason) => format!("unknown /* {} */", reason.replace("*/", "* /")),
        Type::Array(item) => format!("{}[]", part(item)?),
        Type::Tuple(items) => {
            format!("[{}]", items.iter().map(inline).collect::<Option<Vec<_>>>()?.join(", "))
        }
        Type::Record(value) => format!("Record<string, {}>", inline(value)?),
        Type::Intersection(all) => parts(all)?.join(" & "),
        Type::Union(variants) => {
            let is_word = |variant: &Variant| matches!(variant.of, Type::Word(_));
            if variants.iter().any(|variant| variant.about.is_some() && !is_word(variant)) {
                return None;
            }
            variants
                .iter()
                .map(|variant| part(&variant.of))
                .collect::<Option<Vec<_>>>()?
                .join(" | ")
        }
        Type::Object { is_block: true, .. } => return None,
        Type::Object { fields, is_block: false } => {
            let mut written = Vec::with_capacity(fields.len());
            for field in fields {
                if field.about.is_some() || matches!(field.key, Key::Others(_)) {
                    return None;
                }
                written.push(format!("{}: {}", key(&field.key), inline(&field.of)?));
            }
            format!("{{ {} }}", written.join("; "))
        }
    })
}
