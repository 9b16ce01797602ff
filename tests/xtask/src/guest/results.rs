//! What a guest reported, against what it was to report.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;

use anyhow::{Result, ensure};
use comfy_table::{ContentArrangement, Table, presets};
use vfio_guest::{Case, Line, Outcome};

use crate::matrix::Matrix;

/// How many of the slowest cases are told.
const SLOWEST: usize = 8;

/// How wide the table is where there is no terminal to ask, in columns.
const WIDTH: u16 = 120;

/// The results of one guest.
pub(crate) struct Results {
    /// Each case that was expected, in order, with how it ended and why.
    cases: Vec<(Case, Outcome, String)>,
    /// What is wrong with the report itself.
    faults: Vec<String>,
    /// The cases that took longest, the longest first, with how long in milliseconds.
    slowest: Vec<(u64, Case)>,
    /// Whether the guest's last line is missing.
    cut_short: bool,
}

impl Results {
    /// Reads the lines in `report`. A case that was expected and is not there counts as failed.
    pub(crate) fn read(expected: Vec<Case>, report: &str) -> Self {
        let mut seen = HashMap::new();
        let mut faults = Vec::new();
        let mut slowest = Vec::new();
        let mut summary = None;
        for line in report
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            match serde_json::from_str(line) {
                _ if summary.is_some() => faults.push(format!("a line after the summary: {line}")),
                Ok(Line::Verdict {
                    case,
                    result,
                    detail,
                    milliseconds,
                }) => {
                    slowest.push((milliseconds, case.clone()));
                    if !expected.contains(&case) {
                        faults.push(format!("a case that was not expected: {case}"));
                    } else if seen.insert(case.clone(), (result, detail)).is_some() {
                        faults.push(format!("a case reported twice: {case}"));
                    }
                }
                Ok(Line::Ask { .. }) => {}
                Ok(Line::Summary { cases, .. }) => summary = Some(cases),
                Err(_) => faults.push(format!("a line that cannot be read: {line}")),
            }
        }
        match summary {
            None => faults.push("the summary is missing: the guest did not come to its end".into()),
            Some(cases) if cases != seen.len() => {
                faults.push(format!(
                    "{} cases arrived, but the guest counts {cases}",
                    seen.len()
                ));
            }
            Some(_) => {}
        }
        let cases = expected
            .into_iter()
            .map(|case| match seen.remove(&case) {
                Some((outcome, detail)) => (case, outcome, detail),
                None => (case, Outcome::Failed, "the guest did not report it".into()),
            })
            .collect();
        slowest.sort_unstable_by_key(|(milliseconds, _)| Reverse(*milliseconds));
        slowest.truncate(SLOWEST);
        Self {
            cases,
            faults,
            slowest,
            cut_short: summary.is_none(),
        }
    }

    /// Creates the results of a guest that was not booted, for this reason.
    pub(crate) fn not_run(expected: Vec<Case>, reason: &str) -> Self {
        let cases = expected
            .into_iter()
            .map(|case| (case, Outcome::NotRun, reason.into()))
            .collect();
        Self {
            cases,
            faults: Vec::new(),
            slowest: Vec::new(),
            cut_short: false,
        }
    }

    /// Returns each case with how it ended and why, in order.
    pub(crate) fn cases(&self) -> &[(Case, Outcome, String)] {
        &self.cases
    }

    /// Tells whether the guest's last line is missing.
    pub(crate) fn is_cut_short(&self) -> bool {
        self.cut_short
    }

    /// Tells whether everything that ran passed, and everything that was expected was reported.
    ///
    /// # Errors
    ///
    /// Says how much did not, or that nothing ran.
    pub(crate) fn verdict(&self) -> Result<()> {
        let failed = self.count(Outcome::Failed);
        ensure!(
            failed == 0 && self.faults.is_empty(),
            "failed cases: {failed}, faults in the report: {}",
            self.faults.len()
        );
        ensure!(self.count(Outcome::Passed) > 0, "no case was run");
        Ok(())
    }

    /// Adds the drivers that ran in the guest called `name`: what their cases are called is `driver NAME`, or
    /// `driver NAME ..., MODE`.
    pub(crate) fn add_to(&self, matrix: &mut Matrix, name: &str) {
        for (case, outcome, detail) in &self.cases {
            let Some(rest) = case.check.strip_prefix("driver ") else {
                continue;
            };
            let (what, mode) = match rest.rsplit_once(", ") {
                Some((what, mode)) => (what, Some(mode)),
                None => (rest, None),
            };
            let driver = what.split(' ').next().unwrap_or(what);
            let world = match mode {
                // The name says it already.
                None | Some("noiommu") => name.to_owned(),
                Some(mode) => format!("{name}, {mode}"),
            };
            matrix.add(driver, &world, *outcome, detail);
        }
    }

    /// Returns each reason why cases were not run, with how many it holds for, in order of
    /// appearance.
    fn reasons(&self) -> Vec<(&str, usize)> {
        let mut reasons: Vec<(&str, usize)> = Vec::new();
        for (_, _, detail) in self.cases.iter().filter(|case| case.1 == Outcome::NotRun) {
            match reasons.iter_mut().find(|(reason, _)| reason == detail) {
                Some((_, count)) => *count += 1,
                None => reasons.push((detail, 1)),
            }
        }
        reasons
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.cases.iter().filter(|case| case.1 == outcome).count()
    }
}

impl fmt::Display for Results {
    /// Writes a table with a row for each check, then each failed case and why, then why others were not run,
    /// then the counts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const OUTCOMES: [Outcome; 3] = [Outcome::Passed, Outcome::Failed, Outcome::NotRun];
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_HORIZONTAL_ONLY)
            .set_content_arrangement(ContentArrangement::Dynamic);
        if table.width().is_none() {
            table.set_width(WIDTH);
        }
        table.set_header(
            ["check".to_owned()]
                .into_iter()
                .chain(OUTCOMES.map(|outcome| outcome.to_string())),
        );
        let mut checks: Vec<&str> = self
            .cases
            .iter()
            .map(|(case, ..)| case.check.as_str())
            .collect();
        checks.dedup();
        for check in checks {
            let devices = OUTCOMES.map(|outcome| {
                let of_check = self
                    .cases
                    .iter()
                    .filter(|(case, ended, _)| case.check == check && *ended == outcome);
                let devices: Vec<&str> = of_check
                    .map(|(case, ..)| case.device.as_deref().unwrap_or("guest"))
                    .collect();
                devices.join(" ")
            });
            table.add_row([check.to_owned()].into_iter().chain(devices));
        }
        writeln!(f, "{table}")?;
        for (case, outcome, detail) in &self.cases {
            if *outcome == Outcome::Failed {
                writeln!(f, "{outcome:7}  {case}: {detail}")?;
            }
        }
        for (reason, count) in self.reasons() {
            writeln!(f, "{:7}  cases: {count}, because {reason}", Outcome::NotRun)?;
        }
        for fault in &self.faults {
            writeln!(f, "fault    {fault}")?;
        }
        let slow = self.slowest.iter().filter(|slow| slow.0 >= 1000);
        let slow: Vec<String> = slow
            .map(|(milliseconds, case)| format!("{case} {} s", milliseconds / 1000))
            .collect();
        if !slow.is_empty() {
            writeln!(f, "slowest: {}", slow.join(", "))?;
        }
        let [passed, failed, not_run] = OUTCOMES.map(|outcome| self.count(outcome));
        write!(
            f,
            "cases: {passed} passed, {failed} failed, {not_run} not run"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(check: &str, device: Option<&str>) -> Case {
        Case {
            check: check.into(),
            device: device.map(str::to_owned),
        }
    }

    fn verdict(case: Case, result: Outcome) -> String {
        serde_json::to_string(&Line::Verdict {
            case,
            result,
            detail: "seen".into(),
            milliseconds: 0,
        })
        .unwrap()
    }

    fn summary(cases: usize) -> String {
        serde_json::to_string(&Line::Summary {
            cases,
            kernel: "6.1".into(),
        })
        .unwrap()
    }

    #[test]
    fn a_whole_report_passes() {
        let expected = vec![case("a", Some("edu")), case("b", None)];
        let lines = [
            verdict(expected[0].clone(), Outcome::Passed),
            verdict(expected[1].clone(), Outcome::NotRun),
            summary(2),
        ];
        // The guest's serial port ends lines as a terminal does.
        assert!(
            Results::read(expected, &lines.join("\r\n"))
                .verdict()
                .is_ok()
        );
    }

    #[test]
    fn whatever_is_missing_or_too_much_fails() {
        let (a, b) = (case("a", Some("edu")), case("b", None));
        let pass = |case: &Case| verdict(case.clone(), Outcome::Passed);
        let reports = [
            vec![],
            vec![pass(&a), pass(&b)],
            vec![pass(&a), summary(1)],
            vec![pass(&a), summary(2)],
            vec![pass(&a), verdict(b.clone(), Outcome::Failed), summary(2)],
            vec![pass(&a), pass(&b), pass(&case("c", None)), summary(3)],
            vec![pass(&a), pass(&a), pass(&b), summary(3)],
            vec![pass(&a), "{\"check\":\"b\",".into(), summary(1)],
            vec![pass(&a), pass(&b), summary(2), pass(&b)],
        ];
        for lines in reports {
            let results = Results::read(vec![a.clone(), b.clone()], &lines.join("\n"));
            assert!(results.verdict().is_err(), "{lines:?}");
        }
    }

    #[test]
    fn nothing_run_is_no_pass() {
        let expected = vec![case("a", None)];
        assert!(Results::not_run(expected, "no kernel").verdict().is_err());
    }
}
