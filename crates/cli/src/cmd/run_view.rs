//! A run as people read it: one line, and what belongs to it below.

use crate::terminal::{Cell, Line, Table, Terminal, json, style};
use anstyle::Style;
use serde_json::Value;

/// A record and how to show it.
pub(super) struct RunView<'a> {
    run: &'a Value,
    terminal: &'a Terminal,
    utc: bool,
}

impl<'a> RunView<'a> {
    pub(super) const fn new(run: &'a Value, terminal: &'a Terminal, utc: bool) -> Self {
        Self { run, terminal, utc }
    }

    fn text(&self, key: &str) -> &'a str {
        self.run[key].as_str().unwrap_or("-")
    }

    fn state(&self) -> (&'a str, Style) {
        let state = self.text("state");
        let looks = match state {
            "succeeded" if self.denied() => style::ODD,
            "succeeded" => style::GOOD,
            "failed" | "dead" | "timed_out" => style::BAD,
            "cancelled" | "retrying" => style::ODD,
            _ => style::PLAIN,
        };
        (state, looks)
    }

    fn denied(&self) -> bool {
        self.run["verdict"]["kind"] == "denied"
    }

    fn took(&self) -> String {
        self.run["duration_ms"]
            .as_f64()
            .map_or_else(String::new, |ms| format!("{ms:.1} ms"))
    }

    /// What the PRE stage made of it, which attempt it is, where it comes from, and why it failed.
    fn remarks(&self) -> Vec<(Style, String)> {
        let mut remarks = Vec::new();
        if let Some(verdict) = self.run["verdict"]["summary"].as_str() {
            let looks = if self.denied() {
                style::ODD
            } else {
                style::PLAIN
            };
            remarks.push((looks, verdict.to_owned()));
        }
        let attempt = self.run["attempt"].as_u64().unwrap_or_default();
        if attempt > 1 {
            remarks.push((
                style::PLAIN,
                format!("attempt {attempt} of {}", self.run["max_attempts"]),
            ));
        }
        if let Some(of) = self.run["replay_of"].as_i64() {
            remarks.push((style::QUIET, format!("replay of #{of}")));
        }
        match self.run["redrives"].as_u64() {
            None | Some(0) => {}
            Some(1) => remarks.push((style::QUIET, "redriven".to_owned())),
            Some(count) => {
                let times = crate::terminal::plural(count, "time");
                remarks.push((style::QUIET, format!("redriven {times}")));
            }
        }
        if let Some(error) = self.run["error"]["message"].as_str() {
            remarks.push((style::BAD, first_line(error).to_owned()));
        }
        remarks
    }

    /// One run on one line.
    pub(super) fn line(&self) -> Line {
        let moment = self.terminal.moment(self.text("updated_at"), self.utc);
        let (state, looks) = self.state();
        let mut line = Line::new()
            .styled(style::QUIET, moment)
            .text(format!(" #{} ", self.run["id"]))
            .styled(style::STRONG, self.text("function_slug"))
            .text(format!(" v{} {} ", self.run["version"], self.text("event")))
            .styled(looks, state);
        let took = self.took();
        if !took.is_empty() {
            line = line.text(format!(" {took}"));
        }
        for (looks, remark) in self.remarks() {
            line = line.text("  ").styled(looks, remark);
        }
        line
    }

    /// Adds it to a table.
    pub(super) fn row(&self, table: &mut Table) {
        let (state, looks) = self.state();
        let remarks: Vec<_> = self
            .remarks()
            .into_iter()
            .map(|(_, remark)| remark)
            .collect();
        table.row([
            Cell::styled(
                self.terminal.moment(self.text("updated_at"), self.utc),
                style::QUIET,
            ),
            format!("#{}", self.run["id"]).into(),
            self.text("function_slug").into(),
            format!("v{}", self.run["version"]).into(),
            self.text("event").into(),
            Cell::styled(state, looks),
            self.took().into(),
            remarks.join("; ").into(),
        ]);
    }

    /// The table that [`Self::row`] fills.
    pub(super) fn table() -> Table {
        Table::new([
            "CHANGED", "RUN", "FUNCTION", "VERSION", "EVENT", "STATE", "TOOK", "REMARKS",
        ])
    }

    /// Its log lines, indented, by attempt where there were several.
    pub(super) fn print_logs(&self) -> std::io::Result<()> {
        let attempts = self.attempts();
        if attempts.len() > 1 && attempts.iter().any(|attempt| attempt["logs"].is_array()) {
            for attempt in attempts {
                self.print_attempt(attempt)?;
                print_lines(self.terminal, &attempt["logs"])?;
            }
            return Ok(());
        }
        print_lines(self.terminal, &self.run["logs"])
    }

    fn attempts(&self) -> &'a [Value] {
        self.run["attempts"].as_array().map_or(&[], Vec::as_slice)
    }

    fn print_attempt(&self, attempt: &Value) -> std::io::Result<()> {
        let number = &attempt["number"];
        let mut line = Line::new().styled(style::STRONG, format!("  attempt {number}"));
        line = line.text(format!("  v{}", attempt["version"]));
        for key in ["started_at", "finished_at"] {
            if let Some(moment) = attempt[key].as_str() {
                line = line
                    .text("  ")
                    .styled(style::QUIET, self.terminal.moment(moment, self.utc));
            }
        }
        if let Some(worker) = attempt["worker"].as_str() {
            line = line.text("  ").text(worker);
        }
        let error = &attempt["error"];
        if let Some(message) = error["message"].as_str().or_else(|| error.as_str()) {
            line = line.text("  ").styled(style::BAD, first_line(message));
        }
        self.terminal.print(line)
    }

    /// Everything that is known of it. `whole` is its text, digit by digit.
    pub(super) fn print_whole(&self, whole: &str) -> std::io::Result<()> {
        let terminal = self.terminal;
        terminal.print(self.line())?;
        for key in [
            "task_id",
            "event_id",
            "trigger_type",
            "user_username",
            "holder",
        ] {
            if let Some(text) = self.run[key].as_str() {
                terminal.print(format!("  {key:<14} {text}"))?;
            }
        }
        for key in ["queued_at", "started_at", "finished_at", "due_at"] {
            if let Some(moment) = self.run[key].as_str() {
                terminal.print(format!("  {key:<14} {}", terminal.moment(moment, self.utc)))?;
            }
        }
        let attempts = self.attempts();
        let with_logs = attempts.len() > 1 && attempts.iter().any(|it| it["logs"].is_array());
        if attempts.len() > 1 && !with_logs {
            for attempt in attempts {
                self.print_attempt(attempt)?;
            }
        }
        if self.run["logs"]
            .as_array()
            .is_some_and(|logs| !logs.is_empty())
            || with_logs
        {
            terminal.print("logs:")?;
            self.print_logs()?;
        }
        if let Some(traceback) = self.run["error"]["traceback"].as_str() {
            terminal.print("traceback:")?;
            terminal.block(4, traceback)?;
        }
        for (name, path) in [
            ("params", &["task_result", "task_args"][..]),
            ("result", &["task_result", "result"]),
            ("changes", &["changes"]),
        ] {
            if let Some(text) = json::part(whole, path).filter(|text| *text != "null") {
                terminal.print(format!("{name}:"))?;
                terminal.block(4, &json::pretty(text))?;
            }
        }
        Ok(())
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Log lines, indented below their run.
pub(super) fn print_lines(terminal: &Terminal, logs: &Value) -> std::io::Result<()> {
    for entry in logs.as_array().into_iter().flatten() {
        let text = |key: &str| entry[key].as_str().unwrap_or_default();
        print_line(terminal, text("level"), text("message"))?;
    }
    Ok(())
}

/// One log line. What it has below its first line stays below it.
pub(super) fn print_line(terminal: &Terminal, level: &str, message: &str) -> std::io::Result<()> {
    let looks = match level {
        "ERROR" => style::BAD,
        "WARNING" => style::ODD,
        _ => style::QUIET,
    };
    let (first, rest) = message.split_once('\n').unwrap_or((message, ""));
    let first = first.trim_end_matches('\r').replace('\t', "    ");
    terminal.print(
        Line::new()
            .text("    ")
            .styled(looks, format!("{level:<7}"))
            .text(" ")
            .text(first),
    )?;
    terminal.block(12, rest)
}
