//! The table of what was reached beside what was aimed at.

use crate::clients::{Rounds, median};

#[derive(Clone, Copy)]
pub enum Aim {
    AtLeast(f64),
    AtMost(f64),
    /// For comparison only.
    None,
}

impl Aim {
    fn text(self) -> String {
        match self {
            Aim::AtLeast(aim) => format!("≥ {aim}"),
            Aim::AtMost(aim) => format!("≤ {aim}"),
            Aim::None => String::new(),
        }
    }

    fn verdict(self, reached: f64) -> &'static str {
        match self {
            Aim::AtLeast(aim) if reached >= aim => "met",
            Aim::AtMost(aim) if reached <= aim => "met",
            Aim::None => "",
            _ => "not met",
        }
    }
}

struct Row {
    what: String,
    figures: String,
    reached: f64,
    unit: &'static str,
    aim: Aim,
}

#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    pub fn section(&mut self, title: &str) {
        println!("\n{title}");
    }

    /// A comparison of rates.
    pub fn rates(&mut self, what: &str, rounds: &Rounds, aim: Aim) {
        let ratios: Vec<String> =
            rounds.ours.iter().zip(&rounds.bare).map(|(o, b)| format!("{:.2}", o / b)).collect();
        println!("  {what}: ratios {}", ratios.join(" "));
        let of = |side: &[f64]| thousands(median(side.iter().copied()));
        let figures = format!("{}/s : {}/s", of(&rounds.ours), of(&rounds.bare));
        self.row(what, figures, rounds.ratio(), "", aim);
    }

    pub fn row(
        &mut self,
        what: &str,
        figures: impl Into<String>,
        reached: f64,
        unit: &'static str,
        aim: Aim,
    ) {
        let row = Row { what: what.into(), figures: figures.into(), reached, unit, aim };
        println!("  {}", row.cells().join(" | "));
        self.rows.push(row);
    }

    /// A line below the table.
    pub fn note(&mut self, note: String) {
        println!("{note}");
        self.notes.push(note);
    }

    pub fn print(&self) {
        println!("\n| what | reached | aim | | the log : the bare table, in this run |");
        println!("|---|---|---|---|---|");
        for row in &self.rows {
            println!("| {} |", row.cells().join(" | "));
        }
        println!();
        for note in &self.notes {
            println!("{note}");
        }
    }
}

impl Row {
    fn cells(&self) -> [String; 5] {
        let reached = match self.reached {
            reached if reached >= 100.0 => format!("{reached:.0}"),
            reached => format!("{reached:.2}"),
        };
        [
            self.what.clone(),
            format!("{reached}{}", self.unit),
            self.aim.text(),
            self.aim.verdict(self.reached).into(),
            self.figures.clone(),
        ]
    }
}

pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
