//! The three shapes that the ABI consists of: structs, flags and ids.

/// A plain C struct. The number after the name is its size in bytes, the number after a field is the
/// field's offset in bytes; both are asserted at compile time.
macro_rules! layout {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($size:expr) {
            $(
                $(#[doc = $doc:expr])+
                $(#[cfg($($condition:tt)+)])?
                pub $field:ident: $type:ty => $offset:expr,
            )+
        }
    ) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub struct $name {
            $(
                $(#[doc = $doc])+
                $(#[cfg($($condition)+)])?
                pub $field: $type,
            )+
        }

        const _: () = {
            assert!(size_of::<$name>() == $size, concat!("size of ", stringify!($name)));
            $(
                $(#[cfg($($condition)+)])?
                assert!(
                    core::mem::offset_of!($name, $field) == $offset,
                    concat!("offset of ", stringify!($name), "::", stringify!($field))
                );
            )+
        };
    };
}

/// A set of flags over an integer that keeps the bits it has no name for.
macro_rules! flags {
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $bits:ty {
            $( $(#[doc = $flag_doc:expr])+ $flag:ident = $value:expr; )+
        }
    ) => {
        $(#[$meta])*
        #[repr(transparent)]
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        pub struct $name($bits);

        bitflags::bitflags! {
            impl $name: $bits {
                $( $(#[doc = $flag_doc])+ const $flag = $value; )+
                // A bit without a name is part of the value, too.
                const _ = !0;
            }
        }

        impl core::fmt::Display for $name {
            /// Writes the names of the set flags, and what has no name in hexadecimal. `0x0` if none
            /// is set.
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                if self.is_empty() {
                    return f.write_str("0x0");
                }
                bitflags::parser::to_writer(self, f)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        #[cfg(feature = "defmt")]
        impl defmt::Format for $name {
            /// Writes the bits: names would take room in an image.
            fn format(&self, f: defmt::Formatter<'_>) {
                defmt::write!(f, "{:#x}", self.bits());
            }
        }
    };
}

/// An id: a number that has a name for some values only.
macro_rules! ids {
    (
        $(#[$meta:meta])*
        pub struct $name:ident: $repr:ty {
            $( $(#[doc = $id_doc:expr])+ $id:ident = $value:expr; )+
        }
    ) => {
        $(#[$meta])*
        #[repr(transparent)]
        #[derive(
            Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout,
        )]
        pub struct $name(
            /// The number.
            pub $repr,
        );

        impl $name {
            $( $(#[doc = $id_doc])+ pub const $id: Self = Self($value); )+

            /// Returns the name of the constant with this value, or `None` for a value without a
            /// name.
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $( Self::$id => Some(stringify!($id)), )+
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            /// Writes the name, or the number in hexadecimal if it has none.
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{:#x}", self.0),
                }
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        #[cfg(feature = "defmt")]
        impl defmt::Format for $name {
            /// Writes the number: names would take room in an image.
            fn format(&self, f: defmt::Formatter<'_>) {
                defmt::write!(f, "{:#x}", self.0);
            }
        }
    };
}

/// Converts a constant as `u32::from` does.
pub(super) const fn widen(half: u16) -> u32 {
    let [a, b] = half.to_le_bytes();
    u32::from_le_bytes([a, b, 0, 0])
}

/// Returns the low 16 bits of a constant.
pub(super) const fn low_half(word: u32) -> u16 {
    let [a, b, _, _] = word.to_le_bytes();
    u16::from_le_bytes([a, b])
}
