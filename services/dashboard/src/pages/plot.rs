//! Plots as inline SVG, drawn here: no script, no picture to load.

/// The drawing's size; it is scaled to the page.
pub const WIDTH: f64 = 600.0;
pub const HEIGHT: f64 = 160.0;
const LABELS: f64 = 20.0;
/// Where the bars stand.
pub const BASE: f64 = HEIGHT - LABELS;
const GAP: f64 = 2.0;

/// A bar a value, from left to right.
pub struct Bars {
    pub title: String,
    /// All of it in a sentence, for whoever cannot see it.
    pub summary: String,
    pub bars: Vec<Bar>,
    pub highest: String,
    pub first: String,
    pub last: String,
}

pub struct Bar {
    pub x: String,
    pub y: String,
    pub width: String,
    pub height: String,
    pub label: String,
    pub value: String,
}

impl Bars {
    /// Of labels and values; `write` says how a value is written.
    pub fn new(title: &str, values: &[(String, f64)], write: impl Fn(f64) -> String) -> Bars {
        let highest = values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        let step = WIDTH / values.len().max(1) as f64;
        let bars = values.iter().enumerate().map(|(i, (label, value))| {
            let height = if highest > 0.0 { value / highest * BASE } else { 0.0 };
            Bar {
                x: format!("{:.1}", i as f64 * step),
                y: format!("{:.1}", BASE - height),
                width: format!("{:.1}", (step - GAP).max(1.0)),
                height: format!("{height:.1}"),
                label: label.clone(),
                value: write(*value),
            }
        });
        let label = |at: Option<&(String, f64)>| at.map(|(label, _)| label.clone());
        let (first, last) = (label(values.first()), label(values.last()));
        let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
        Bars {
            title: title.to_owned(),
            summary: format!("From {first} to {last}; at most {}.", write(highest)),
            bars: bars.collect(),
            highest: write(highest),
            first,
            last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_bar_fills_the_plot() {
        let values = [("a".to_owned(), 1.0), ("b".to_owned(), 4.0)];
        let bars = Bars::new("t", &values, |value| format!("{value}"));
        assert_eq!((bars.bars[1].height.as_str(), bars.bars[1].y.as_str()), ("140.0", "0.0"));
        assert_eq!(bars.bars[0].height, "35.0");
        assert_eq!(bars.summary, "From a to b; at most 4.");
        let none = Bars::new("t", &[], |value| format!("{value}"));
        assert!(none.bars.is_empty() && none.highest == "0");
    }
}
