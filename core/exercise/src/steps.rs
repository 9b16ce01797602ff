//! The table of a driver's steps.

/// Declares the steps of a driver in the order in which they are made, each with its name.
macro_rules! steps {
    ($(#[doc = $about:literal] $step:ident = $name:literal,)*) => {
        /// A step.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub enum Step {
            $(#[doc = $about] $step,)*
        }

        impl Step {
            /// Lists all steps, in the order in which they are made.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$step),*];

            /// Returns a name in `snake_case`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$step => $name,)*
                }
            }
        }
    };
}
