//! Guesses at a misspelt name.

/// The name that differs from `name` by the fewest letters, if they are few: the author may have
/// meant it.
#[must_use]
pub fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let changes = names.iter().map(|other| (distance(name, other), *other));
    let (changes, nearest) = changes.min()?;
    (changes <= nearest.len().div_ceil(3)).then_some(nearest)
}

/// Letters to insert, delete or replace between two names.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<_> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_one_that_takes_few_changes() {
        let names = ["tenant", "zone", "rx_queue"];
        for (name, nearest_name) in [
            ("tennant", Some("tenant")),
            ("Zone", Some("zone")),
            ("rxqueue", Some("rx_queue")),
            ("colour", None),
        ] {
            assert_eq!(nearest(name, &names), nearest_name);
        }
        assert_eq!((distance("", "abc"), distance("kitten", "sitting")), (3, 3));
    }
}
