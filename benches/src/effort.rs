//! How much is measured.

use std::time::Duration;

/// How much to measure.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Effort {
    /// Times to measure each thing
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,
    /// Seconds of each kind of traffic in each round
    #[arg(long, default_value = "0.2", value_parser = seconds)]
    pub(crate) seconds: Duration,
}

impl Effort {
    /// The rounds by number, with a line on stderr for each.
    pub(crate) fn rounds(self, name: &str) -> impl Iterator<Item = u32> {
        (0..self.rounds).inspect(move |round| {
            eprintln!("{name}: round {} of {}", round + 1, self.rounds);
        })
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number")?;
    if !(0.01..=60.0).contains(&seconds) {
        return Err("not between 0.01 and 60".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}
