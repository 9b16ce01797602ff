//! Counting instructions with valgrind's callgrind.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::tools::quiet;

/// Counts the instructions of `program` with `arguments` from the entry of `function` to its return. Callees are
/// included, the function `left_out` is not.
///
/// # Errors
///
/// The program fails, or the function is not called.
pub(crate) fn count(
    program: &Path,
    arguments: &[&str],
    function: &str,
    left_out: &str,
    scratch: &Path,
) -> Result<u64> {
    quiet(
        Command::new("valgrind")
            .arg("--tool=callgrind")
            .arg(format!("--callgrind-out-file={}", scratch.display()))
            .arg(format!("--toggle-collect={function}"))
            .arg(program)
            .args(arguments),
    )?;
    let profile = fs::read_to_string(scratch)
        .with_context(|| format!("cannot read {}", scratch.display()))?;
    let costs = self_costs(&profile);
    ensure!(
        costs.contains_key(function),
        "{function} was not called by {}",
        program.display()
    );
    Ok(costs
        .iter()
        .filter(|(name, _)| name.as_str() != left_out)
        .map(|(_, cost)| cost)
        .sum())
}

/// Returns the cost of each function itself, from a profile in callgrind's format with one event.
///
/// A name is written out once, as `fn=(id) name`, and is `fn=(id)` from then on. The line after `calls=` is the cost of
/// a callee, which has its own lines elsewhere.
fn self_costs(profile: &str) -> HashMap<String, u64> {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut costs = HashMap::new();
    let mut function = "";
    let mut is_callee = false;
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("fn=").or(line.strip_prefix("cfn=")) {
            let (id, name) = name.split_once(' ').unwrap_or((name, ""));
            if !name.is_empty() {
                names.insert(id, name);
            }
            if line.starts_with("fn=") {
                function = names.get(id).copied().unwrap_or(id);
            }
        } else if line.starts_with("calls=") {
            is_callee = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let cost = line
                .split(' ')
                .next_back()
                .and_then(|cost| cost.parse::<u64>().ok());
            if !is_callee {
                *costs.entry(function.to_owned()).or_default() += cost.unwrap_or(0);
            }
            is_callee = false;
        }
    }
    costs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callee_counts_once() {
        let profile = "events: Ir\nfn=(1) outer\n0 10\n+3 5\ncfn=(2) inner\ncalls=2 0\n4 30\n\nfn=(2)\n7 30\n\nfn=(1)\n* 1\n";
        let costs = self_costs(profile);
        assert_eq!((costs["outer"], costs["inner"]), (16, 30));
    }
}
