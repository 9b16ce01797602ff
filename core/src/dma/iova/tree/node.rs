//! The nodes, and what they say of themselves.

use zerocopy::FromZeros;

use super::super::class::{Class, Pages};

/// Which node of the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros)]
pub(in crate::dma::iova) struct NodeId(pub(super) u32);

/// No node.
pub(super) const NONE: NodeId = NodeId(u32::MAX);

/// Why pages can't be given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromZeros)]
#[repr(u8)]
pub(in crate::dma::iova) enum Kind {
    /// The IOMMU can't map them, or they are kept back.
    Wall,
    Allocation,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// Which subtree of a node is higher, by one.
#[derive(Clone, Copy, PartialEq, Eq, FromZeros)]
#[repr(u8)]
pub(super) enum Lean {
    Even,
    Left,
    Right,
}

#[derive(Clone, Copy, FromZeros)]
pub(in crate::dma::iova) struct Node {
    pub(super) start: Pages,
    /// How many pages right before `start` are free.
    pub(super) gap: Pages,
    /// Of a node that is not in the tree, the next such.
    pub(super) parent: NodeId,
    pub(super) left: NodeId,
    pub(super) right: NodeId,
    /// Of the largest gap in the left subtree.
    pub(super) left_most: Class,
    /// Of `gap`.
    pub(super) own: Class,
    /// Of the largest gap in the right subtree.
    pub(super) right_most: Class,
    pub(super) lean: Lean,
    pub(super) kind: Kind,
}

impl NodeId {
    /// Returns the index, past any array where there is none.
    pub(super) fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Side {
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }

    pub(super) const fn lean(self) -> Lean {
        match self {
            Self::Left => Lean::Left,
            Self::Right => Lean::Right,
        }
    }
}

impl Node {
    /// Of a node that was never in the tree.
    pub(super) const UNUSED: Self = Self {
        start: 0,
        gap: 0,
        parent: NodeId(0),
        left: NodeId(0),
        right: NodeId(0),
        left_most: Class::NONE,
        own: Class::NONE,
        right_most: Class::NONE,
        lean: Lean::Even,
        kind: Kind::Wall,
    };

    /// Creates a node without children.
    pub(super) fn new(start: Pages, gap: Pages, kind: Kind) -> Self {
        Self {
            start,
            gap,
            own: Class::of(gap),
            kind,
            ..Self::NOTHING
        }
    }

    /// What is where no node is.
    pub(super) const NOTHING: Self = Self {
        parent: NONE,
        left: NONE,
        right: NONE,
        ..Self::UNUSED
    };

    /// Returns the class of the largest gap in the subtree.
    pub(super) fn most(&self) -> Class {
        self.left_most.max(self.own).max(self.right_most)
    }

    pub(super) fn child(&self, side: Side) -> (NodeId, Class) {
        match side {
            Side::Left => (self.left, self.left_most),
            Side::Right => (self.right, self.right_most),
        }
    }

    pub(super) fn set_child(&mut self, side: Side, child: NodeId, most: Class) {
        match side {
            Side::Left => (self.left, self.left_most) = (child, most),
            Side::Right => (self.right, self.right_most) = (child, most),
        }
    }

    /// Puts `child` in the place of another one that has gaps as large.
    pub(super) fn replace_child(&mut self, old: NodeId, child: NodeId) {
        match self.side(old) {
            Side::Left => self.left = child,
            Side::Right => self.right = child,
        }
    }

    /// Returns on which side `child` is.
    pub(super) fn side(&self, child: NodeId) -> Side {
        if self.left == child {
            Side::Left
        } else {
            Side::Right
        }
    }
}
