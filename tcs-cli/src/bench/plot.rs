//! Reports as a picture.

use std::fs;

use plotters::prelude::*;

use super::{
    report::Report,
    units::{show_rate, show_time},
};
use crate::failure::Failure;

const SIZE: (u32, u32) = (800, 720);
const FONT: (&str, u32) = ("sans-serif", 15);
const TITLE: (&str, u32) = ("sans-serif", 18);

/// Draws the latency by percentile, and the rate over time, into the file `path`.
pub(super) fn write(path: &str, report: &Report) -> Result<(), Failure> {
    if report.percentiles.is_empty() {
        let message = format!("nothing was answered, so {path} is not drawn");
        return Err(Failure::usage(message).hint("look at the errors first"));
    }
    let mut svg = String::new();
    draw(&mut svg, report)
        .map_err(|error| Failure::usage(format_args!("cannot draw {path}: {error}")))?;
    fs::write(path, svg)
        .map_err(|error| Failure::usage(format_args!("cannot write {path}: {error}")))
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw(svg: &mut String, report: &Report) -> Drawn {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (above, below) = root.split_vertically(SIZE.1 / 2);
    draw_latency(&above, report)?;
    draw_rate(&below, report)?;
    root.present()?;
    Ok(())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

#[expect(clippy::cast_precision_loss, reason = "a picture has 700 dots")]
fn draw_latency(area: &Area<'_>, report: &Report) -> Drawn {
    // The distance of 90, 99 and 99.9 % is the same.
    let points = report.percentiles.iter().map(|point| {
        let beyond = (1.0 - point.percentile / 100.0).max(f64::MIN_POSITIVE);
        (-beyond.log10(), point.ns.max(1) as f64)
    });
    let points: Vec<_> = points.collect();
    let nines = points
        .last()
        .map_or(1.0, |(nines, _)| nines.ceil().max(1.0));
    let least = points.first().map_or(1.0, |(_, ns)| *ns);
    let most = points.iter().fold(least, |most, (_, ns)| most.max(*ns));
    let mut chart = ChartBuilder::on(area)
        .caption(format!("latency of {} by percentile", report.target), TITLE)
        .margin(12)
        .margin_right(36)
        .x_label_area_size(36)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..nines, (least / 1.5..most * 1.5).log_scale())?;
    chart
        .configure_mesh()
        .label_style(FONT)
        .max_light_lines(1)
        .axis_desc_style(FONT)
        .x_labels(8)
        .x_label_formatter(&|nines| percent(*nines))
        .y_label_formatter(&|ns| show_time(*ns))
        .draw()?;
    chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2)))?;
    Ok(())
}

fn draw_rate(area: &Area<'_>, report: &Report) -> Drawn {
    let samples = report.samples.iter();
    let first = report
        .samples
        .first()
        .map(|sample| (0.0, sample.replies_per_second));
    let points: Vec<_> = first
        .into_iter()
        .chain(samples.map(|sample| (sample.seconds, sample.replies_per_second)))
        .collect();
    let end = points.last().map_or(1.0, |(seconds, _)| *seconds);
    let most = points
        .iter()
        .fold(1.0_f64, |most, (_, rate)| most.max(*rate));
    let mut chart = ChartBuilder::on(area)
        .caption("replies per second over time", TITLE)
        .margin(12)
        .margin_right(36)
        .x_label_area_size(36)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..end, 0.0..most * 1.1)?;
    chart
        .configure_mesh()
        .label_style(FONT)
        .max_light_lines(1)
        .axis_desc_style(FONT)
        .x_label_formatter(&|seconds| format!("{seconds:.1} s"))
        .y_label_formatter(&|rate| show_rate(*rate))
        .draw()?;
    chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2)))?;
    Ok(())
}

/// Returns the label of a whole number of nines: `0 %`, `90 %`, `99 %`, `99.9 %`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "there are up to six nines"
)]
fn percent(nines: f64) -> String {
    if (nines - nines.round()).abs() > 0.01 {
        return String::new();
    }
    let nines = nines.round() as usize;
    match nines {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        _ => format!("99.{} %", "9".repeat(nines - 2)),
    }
}
