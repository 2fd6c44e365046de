//! Words that cannot be names in a language.

/// The keywords of a language, as far as they can be names of fields.
#[derive(Clone, Copy, Debug)]
pub struct Keywords(&'static str);

impl Keywords {
    /// Of C23 and before.
    pub const C: Self = Self(
        "alignas alignof auto bool break case char const constexpr continue default do double \
         else enum extern false float for goto if inline int long nullptr register restrict \
         return short signed sizeof static static_assert struct switch thread_local true typedef \
         typeof typeof_unqual union unsigned void volatile while",
    );

    /// Of the 2024 edition, those reserved for later included.
    pub const RUST: Self = Self(
        "abstract as async await become box break const continue crate do dyn else enum extern \
         false final fn for gen if impl in let loop macro match mod move mut override priv pub \
         ref return self static struct super trait true try type typeof unsafe unsized use \
         virtual where while yield",
    );

    /// Of Python 3.
    pub const PYTHON: Self = Self(
        "and as assert async await break class continue def del elif else except finally for from \
         global if import in is lambda nonlocal not or pass raise return try while with yield",
    );

    /// True if `word` is one of them.
    #[must_use]
    pub fn have(self, word: &str) -> bool {
        self.0.split(' ').any(|keyword| keyword == word)
    }
}
