//! `/metrics`, read as Prometheus reads it.

/// One reading of all metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    pub(crate) fn new(text: String) -> Metrics {
        Metrics { text }
    }

    /// The sum of all samples of that name, whatever their labels; `None` if there is none.
    pub fn get(&self, name: &str) -> Option<f64> {
        let mut values =
            self.samples().filter(|sample| sample.name == name).map(|sample| sample.value);
        let first = values.next()?;
        Some(first + values.sum::<f64>())
    }

    /// Every sample: a line that is not a comment.
    ///
    /// # Panics
    ///
    /// On a line that is not in the text format.
    pub fn samples(&self) -> impl Iterator<Item = Sample<'_>> {
        self.text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| Sample::parse(line).unwrap_or_else(|| panic!("{line:?} is no sample")))
    }

    /// Whether the metric of that name is explained: it has a `# HELP` and a `# TYPE` line.
    pub fn is_described(&self, name: &str) -> bool {
        ["HELP", "TYPE"].iter().all(|what| self.text.contains(&format!("# {what} {name} ")))
    }
}

/// One line of the text format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The metric.
    pub name: &'a str,
    /// What stands between the braces; empty without them.
    pub labels: &'a str,
    /// The number.
    pub value: f64,
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Sample<'a>> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}')?),
            None => (series, ""),
        };
        Some(Sample { name, labels, value: value.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_name_are_summed_over_their_labels() {
        let metrics =
            Metrics::new("# TYPE a counter\na{x=\"1\"} 2\na{x=\"2\"} 3\nab 7\n".to_owned());

        assert_eq!(metrics.get("a"), Some(5.0));
        assert_eq!(metrics.get("ab"), Some(7.0));
        assert_eq!(metrics.get("b"), None);
    }
}
