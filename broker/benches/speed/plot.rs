//! Latency against load, for a terminal and as a picture.

use std::fmt::Write;

pub struct Point {
    /// Of the top rate.
    pub percent: u32,
    /// Milliseconds.
    pub p50: f64,
    pub p99: f64,
}

/// A logarithmic height from 0 to 1, from the least p50 to the greatest p99.
fn scale(points: &[Point]) -> impl Fn(f64) -> f64 {
    let low = points.iter().map(|point| point.p50).fold(f64::INFINITY, f64::min) / 1.5;
    let high = points.iter().map(|point| point.p99).fold(low, f64::max) * 1.2;
    move |ms| (ms / low).ln() / (high / low).ln()
}

pub fn text(points: &[Point]) -> String {
    const HEIGHT: usize = 14;
    const STEP: usize = 10;
    let height = scale(points);
    let mut rows = vec![vec![' '; points.len() * STEP]; HEIGHT];
    for (i, point) in points.iter().enumerate() {
        for (ms, mark) in [(point.p50, "o"), (point.p99, "x")] {
            let row = HEIGHT - 1 - ((height(ms) * HEIGHT as f64) as usize).min(HEIGHT - 1);
            for (k, c) in format!("{mark} {ms:.1}").chars().enumerate() {
                rows[row][i * STEP + 1 + k] = c;
            }
        }
    }
    let mut out =
        "ms from publish to handler (o p50, x p99), by share of the top rate\n".to_owned();
    for row in rows {
        let _ = writeln!(out, "  |{}", row.into_iter().collect::<String>().trim_end());
    }
    let _ = writeln!(out, "  +{}", "-".repeat(points.len() * STEP));
    let labels = points.iter().map(|point| format!(" {:<9}", format!("{}%", point.percent)));
    let _ = write!(out, "   {}", labels.collect::<String>().trim_end());
    out
}

pub fn svg(points: &[Point]) -> String {
    let height = scale(points);
    let x = |point: &Point| 60.0 + f64::from(point.percent) * 5.2;
    let y = |ms: f64| 330.0 - height(ms) * 290.0;
    let mut out = String::from(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 380" font-family="sans-serif" font-size="12">
<rect width="640" height="380" fill="#fff"/>
<path d="M60 40V330H600" fill="none" stroke="#555"/>
<text x="60" y="24">publish to handler: p50 and p99 in ms (logarithmic), by share of the top rate</text>
"##,
    );
    type Pick = fn(&Point) -> f64;
    let lines: [(&str, &str, Pick); 2] =
        [("p50", "#1664c0", |point| point.p50), ("p99", "#c03016", |point| point.p99)];
    for (name, color, pick) in lines {
        let line: String =
            points.iter().map(|point| format!("{:.1},{:.1} ", x(point), y(pick(point)))).collect();
        let _ = writeln!(
            out,
            r#"<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>"#
        );
        for point in points {
            let (x, y, ms) = (x(point), y(pick(point)), pick(point));
            let _ = writeln!(
                out,
                r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{color}"/><text x="{:.1}" y="{:.1}" fill="{color}">{ms:.1}</text>"#,
                x + 5.0,
                y - 6.0
            );
        }
        if let Some(last) = points.last() {
            let _ = writeln!(
                out,
                r#"<text x="{:.1}" y="{:.1}" fill="{color}" font-weight="bold">{name}</text>"#,
                x(last) + 40.0,
                y(pick(last))
            );
        }
    }
    for point in points {
        let _ = writeln!(
            out,
            r##"<text x="{:.1}" y="350" text-anchor="middle">{}%</text>"##,
            x(point),
            point.percent
        );
    }
    out.push_str("</svg>\n");
    out
}
