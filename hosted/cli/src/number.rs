//! Numbers as they are written on the command line.

/// Returns a number: decimal, or hexadecimal behind `0x`.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let digits = text
        .strip_prefix("0x")
        .or_else(|| text.strip_prefix("0X"))
        .map_or((text, 10), |digits| (digits, 16));
    let is_number = !digits.0.is_empty() && digits.0.chars().all(|digit| digit.is_digit(digits.1));
    if !is_number {
        return Err("a number is decimal, or hexadecimal behind 0x".into());
    }
    u64::from_str_radix(digits.0, digits.1).map_err(|_| "the number has more than 64 bits".into())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        assert_eq!(parse("16"), Ok(16));
        assert_eq!(parse("0x1F"), Ok(31));
        assert_eq!(parse("0xffffffffffffffff"), Ok(u64::MAX));
        for text in ["", "0x", "-1", "+1", "1f", "0x1g", "0x10000000000000000"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
