//! Keeping the tree in balance.

use super::node::{Lean, Node, NodeId, Side};
use super::{TOP, Tree};

impl Tree<[Node]> {
    /// Restores the balance after the subtree `child` of `id` has become higher by one.
    pub(super) fn has_grown(&mut self, mut child: NodeId, mut id: NodeId) {
        while id != TOP {
            let Some(node) = self.nodes.get_mut(id.index()) else {
                return;
            };
            let side = node.side(child);
            if node.lean == side.lean() {
                self.lift(id, side);
                return;
            }
            if node.lean != Lean::Even {
                node.lean = Lean::Even;
                return;
            }
            node.lean = side.lean();
            (child, id) = (id, node.parent);
        }
    }

    /// Restores the balance after the subtree on `side` of `id` has become lower by one.
    pub(super) fn has_shrunk(&mut self, mut id: NodeId, mut side: Side) {
        while id != TOP {
            let Some(node) = self.nodes.get_mut(id.index()) else {
                return;
            };
            if node.lean == Lean::Even {
                node.lean = side.other().lean();
                return;
            }
            let parent = node.parent;
            let mut child = id;
            if node.lean == side.lean() {
                node.lean = Lean::Even;
            } else {
                child = self.lift(id, side.other());
                if self.node(child).lean != Lean::Even {
                    return;
                }
            }
            side = self.node(parent).side(child);
            id = parent;
        }
    }

    /// Balances `id`, whose subtree on `side` is higher by two: the child there takes its place, or
    /// the inner child of that. Returns which. If it leans then, the height is what it was.
    fn lift(&mut self, id: NodeId, side: Side) -> NodeId {
        let (toward, away) = (side.lean(), side.other().lean());
        let (child, _) = self.node(id).child(side);
        let node = self.node(child);
        if node.lean != away {
            let (lower, upper) = match node.lean {
                Lean::Even => (toward, away),
                _ => (Lean::Even, Lean::Even),
            };
            self.rotate(id, side, lower, upper);
            return child;
        }
        let (inner, _) = node.child(side.other());
        let lean = self.node(inner).lean;
        let of_child = if lean == away { toward } else { Lean::Even };
        let of_id = if lean == toward { away } else { Lean::Even };
        self.rotate(child, side.other(), of_child, Lean::Even);
        self.rotate(id, side, of_id, Lean::Even);
        inner
    }

    /// Puts the child on `side` of `id` in its place, and `id` below it. They lean as told then.
    fn rotate(&mut self, id: NodeId, side: Side, lower: Lean, upper: Lean) {
        let Node { parent, .. } = *self.node(id);
        let (up, _) = self.node(id).child(side);
        let (inner, most) = self.node(up).child(side.other());
        let Some(node) = self.nodes.get_mut(id.index()) else {
            return;
        };
        node.set_child(side, inner, most);
        (node.parent, node.lean) = (up, lower);
        let most = node.most();
        if let Some(node) = self.nodes.get_mut(up.index()) {
            node.set_child(side.other(), id, most);
            (node.parent, node.lean) = (parent, upper);
        }
        if let Some(node) = self.nodes.get_mut(inner.index()) {
            node.parent = id;
        }
        if let Some(node) = self.nodes.get_mut(parent.index()) {
            node.replace_child(id, up);
        }
    }
}
