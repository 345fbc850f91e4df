//! Plots as inline SVG, drawn here: no script, no picture to load.

/// The drawing's size; it is scaled to the page.
pub const WIDTH: f64 = 600.0;
pub const HEIGHT: f64 = 140.0;
const GAP: f64 = 2.0;

/// Bars over time, from left to right; those of several series stand in front of each other.
pub struct Plot {
    /// Names it within its page.
    pub id: String,
    pub title: String,
    /// All of it in a sentence, for whoever cannot see it.
    pub summary: String,
    pub bars: Vec<Bar>,
    pub highest: String,
    pub first: String,
    pub last: String,
    /// The same as a table: the series' names, and a row a place in time.
    pub columns: Vec<String>,
    pub rows: Vec<(String, Vec<String>)>,
}

/// One thing that is measured; `None` where it is not known.
pub struct Series {
    pub name: String,
    pub values: Vec<Option<f64>>,
}

pub struct Bar {
    /// Whether another series stands in front of it.
    pub behind: bool,
    pub x: String,
    pub y: String,
    pub width: String,
    pub height: String,
    pub told: String,
}

impl Plot {
    /// Of labels and series, the highest first; `write` says how a value is written.
    pub fn new(
        title: &str,
        labels: &[String],
        series: &[Series],
        write: impl Fn(f64) -> String,
    ) -> Plot {
        let known = || series.iter().flat_map(|one| one.values.iter().flatten());
        let highest = known().copied().fold(0.0, f64::max);
        let step = WIDTH / labels.len().max(1) as f64;
        let mut bars = Vec::new();
        for (nth, one) in series.iter().enumerate() {
            for (i, (label, value)) in labels.iter().zip(&one.values).enumerate() {
                let Some(value) = value.filter(|value| *value > 0.0) else { continue };
                let height = value / highest * HEIGHT;
                bars.push(Bar {
                    behind: nth + 1 < series.len(),
                    x: format!("{:.1}", i as f64 * step),
                    y: format!("{:.1}", HEIGHT - height),
                    width: format!("{:.1}", (step - GAP).max(1.0)),
                    height: format!("{height:.1}"),
                    told: format!("{label}: {} {}", one.name, write(value)),
                });
            }
        }
        let cell = |value: &Option<f64>| value.map_or_else(|| "—".to_owned(), &write);
        let row = |(i, label): (usize, &String)| {
            (label.clone(), series.iter().map(|one| cell(&one.values[i])).collect())
        };
        let (first, last) = (labels.first().cloned(), labels.last().cloned());
        let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
        let names: Vec<&str> = series.iter().map(|one| one.name.as_str()).collect();
        Plot {
            id: title.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "-"),
            title: title.to_owned(),
            summary: match known().count() {
                0 => format!("{}: nothing from {first} to {last} UTC.", names.join(" and ")),
                _ => format!(
                    "{} from {first} to {last} UTC; at most {}.",
                    names.join(" and "),
                    write(highest)
                ),
            },
            bars,
            highest: write(highest),
            columns: series.iter().map(|one| one.name.clone()).collect(),
            rows: labels.iter().enumerate().map(row).collect(),
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
        let labels = ["a".to_owned(), "b".to_owned()];
        let series = |name: &str, values: [Option<f64>; 2]| Series {
            name: name.to_owned(),
            values: values.to_vec(),
        };
        let write = |value: f64| format!("{value}");
        let both = [series("p99", [Some(2.0), Some(4.0)]), series("p50", [Some(1.0), None])];
        let plot = Plot::new("Mail sent", &labels, &both, write);
        let bars: Vec<_> = plot.bars.iter().map(|bar| (bar.behind, bar.height.as_str())).collect();
        assert_eq!(bars, [(true, "70.0"), (true, "140.0"), (false, "35.0")]);
        assert_eq!(plot.summary, "p99 and p50 from a to b UTC; at most 4.");
        assert_eq!(plot.rows[1], ("b".to_owned(), vec!["4".to_owned(), "—".to_owned()]));
        assert_eq!(plot.id, "mail-sent");
        let none = Plot::new("t", &labels, &[series("n", [Some(0.0), None])], write);
        assert!(none.bars.is_empty() && none.highest == "0");
    }
}
