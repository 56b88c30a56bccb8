//! The distributions as one picture: an SVG of cumulative shares over a logarithmic axis of time.

use std::fmt::Write as _;

use super::statistics::{Measure, Target};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 40.0;
/// The plot's own size.
const ACROSS: f64 = WIDTH - LEFT - 24.0;
const DOWN: f64 = 260.0;
/// Milliseconds at both ends of the axis, as powers of ten.
const FROM: i32 = -2;
const TO: i32 = 4;
const COLOURS: [&str; 8] = ["#1f6feb", "#d4561f", "#2f9e44", "#9c36b5", "#0c8599", "#c92a2a", "#5f3dc4", "#868e96"];

/// Draws the measures; those with a target have it as a dashed line in their colour.
pub(crate) fn svg(title: &str, measures: &[Measure]) -> String {
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"14\" font-weight=\"bold\">{}</text>\n",
        escaped(title)
    );
    let (right, bottom) = (LEFT + ACROSS, TOP + DOWN);
    for power in FROM..=TO {
        let at = x(10_f64.powi(power));
        let _ = write!(
            text,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#e5e5e5\"/>\n\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
            bottom + 16.0,
            label(power)
        );
    }
    for share in [0.0, 0.25, 0.5, 0.75, 0.99, 1.0] {
        let at = y(share);
        let _ = write!(
            text,
            "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#e5e5e5\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0} %</text>\n",
            LEFT - 6.0,
            // 99 and 100 % are nearly one line: the labels go to either side of it.
            at + if share == 1.0 {
                0.0
            } else if share > 0.9 {
                10.0
            } else {
                4.0
            },
            share * 100.0
        );
    }
    for (index, measure) in measures.iter().enumerate() {
        let colour = COLOURS.get(index % COLOURS.len()).copied().unwrap_or("black");
        if let Some(Target::P99(limit) | Target::Max(limit)) = measure.target {
            let at = x(limit);
            let _ = writeln!(
                text,
                "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"{colour}\" stroke-dasharray=\"5 4\"/>"
            );
        }
        let _ =
            writeln!(text, "<path d=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"/>", steps(measure));
        let (row, dash) = (bottom + 44.0 + 18.0 * f64::from(u8::try_from(index).unwrap_or(u8::MAX)), LEFT + 22.0);
        let _ = writeln!(
            text,
            "<line x1=\"{LEFT}\" y1=\"{:.1}\" x2=\"{dash}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"3\"/>\n\
             <text x=\"{:.1}\" y=\"{row:.1}\">{}</text>",
            row - 4.0,
            row - 4.0,
            dash + 8.0,
            escaped(measure.what)
        );
    }
    text.push_str("</svg>\n");
    text
}

/// A stair that rises by one run at each run's time.
fn steps(measure: &Measure) -> String {
    let values = measure.series.values();
    let count = f64::from(u32::try_from(values.len().max(1)).unwrap_or(u32::MAX));
    let mut path = String::new();
    let mut share = 0.0;
    for value in values {
        let command = if path.is_empty() { 'M' } else { 'L' };
        let _ = write!(path, "{command}{:.1} {:.1}", x(*value), y(share / count));
        share += 1.0;
        let _ = write!(path, "L{:.1} {:.1}", x(*value), y(share / count));
    }
    path
}

fn x(ms: f64) -> f64 {
    let (from, to) = (f64::from(FROM), f64::from(TO));
    LEFT + (ms.max(f64::MIN_POSITIVE).log10().clamp(from, to) - from) / (to - from) * ACROSS
}

fn y(share: f64) -> f64 {
    TOP + (1.0 - share) * DOWN
}

fn label(power: i32) -> String {
    match power {
        ..=-1 => format!("{} µs", 10_f64.powi(power + 3)),
        0..=2 => format!("{} ms", 10_f64.powi(power)),
        3.. => format!("{} s", 10_f64.powi(power - 3)),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests;
