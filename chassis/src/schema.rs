//! How API descriptions write what `contracts` checks.

use contracts::{Email, Text};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

/// A [`Text`].
pub fn text() -> Object {
    of("One line, no control characters", Text::PATTERN, Text::MAX_CHARS)
}

/// An [`Email`].
pub fn email() -> Object {
    of("A mail address", Email::PATTERN, Email::MAX_CHARS)
}

fn of(description: &str, pattern: &str, max_chars: usize) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .min_length(Some(1))
        .max_length(Some(max_chars))
        .pattern(Some(pattern))
        .build()
}
