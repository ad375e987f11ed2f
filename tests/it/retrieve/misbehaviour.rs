//! Sources that misbehave.
