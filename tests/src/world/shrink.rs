//! From a failing world to the smallest that fails alike.

use super::plan::{Plan, Settings};
use super::{Failure, run};

/// The state of the search.
struct Search<J> {
    /// What is wrong with a world.
    judge: J,
    best: Plan,
    checker: String,
    failure: Failure,
    tries: usize,
}

impl<J: FnMut(&Plan) -> Option<Failure>> Search<J> {
    /// Takes the candidate over if it fails alike.
    fn offer(&mut self, candidate: Plan) -> bool {
        if self.tries == 0 || candidate == self.best {
            return false;
        }
        self.tries -= 1;
        match (self.judge)(&candidate).filter(|failure| failure.checker() == self.checker) {
            Some(failure) => {
                self.best = candidate;
                self.failure = failure;
                true
            }
            None => false,
        }
    }

    /// Drops as many entries of one list as possible: halves first, then ever smaller pieces.
    fn thin<T: Clone>(&mut self, list: impl Fn(&mut Plan) -> &mut Vec<T>) {
        let mut piece = list(&mut self.best.clone()).len().div_ceil(2);
        while piece > 0 {
            let mut at = 0;
            loop {
                let mut candidate = self.best.clone();
                let entries = list(&mut candidate);
                if at >= entries.len() {
                    break;
                }
                entries.drain(at..(at + piece).min(entries.len()));
                if !self.offer(candidate) {
                    at += piece;
                }
            }
            piece = if piece == 1 { 0 } else { piece / 2 };
        }
    }

    /// Makes users who are not needed any more harmless: the others keep their numbers.
    fn drop_users(&mut self) {
        for user in (0..self.best.users.len()).rev() {
            let mut candidate = self.best.clone();
            candidate.users.remove(user);
            candidate.ops.retain(|op| op.user != user);
            candidate.ops.iter_mut().filter(|op| op.user > user).for_each(|op| op.user -= 1);
            // A fault of a gateway by the same number stays as it is.
            let (users, gateways): (Vec<_>, Vec<_>) =
                candidate.faults.iter().copied().partition(|fault| fault.harm.is_of_user());
            let users = users.into_iter().filter(|fault| fault.whom != user).map(|mut fault| {
                fault.whom -= usize::from(fault.whom > user);
                fault
            });
            candidate.faults = users.chain(gateways).collect();
            candidate.faults.sort_by_key(|fault| fault.at);
            self.offer(candidate);
        }
    }

    /// Sets every setting that need not be special to what is usual, and numbers to smaller ones.
    fn calm(&mut self) {
        for (name, usual) in Settings::default().fields() {
            let mut candidate = self.best.clone();
            candidate.settings.set(name, usual);
            self.offer(candidate);
        }
        for index in 0..self.best.ops.len() {
            for shrink in [|value: u64| value.min(1), |value: u64| value / 2] {
                let mut candidate = self.best.clone();
                let Some(op) = candidate.ops.get_mut(index) else { break };
                (op.a, op.b) = (shrink(op.a), shrink(op.b));
                self.offer(candidate);
            }
        }
        for index in 0..self.best.faults.len() {
            let mut candidate = self.best.clone();
            candidate.faults[index].span /= 2;
            self.offer(candidate);
        }
        let mut candidate = self.best.clone();
        let last =
            candidate.ops.iter().map(|op| op.at).chain(candidate.faults.iter().map(|fault| fault.at)).max();
        candidate.settings.heal = last.unwrap_or_default() + 1_000_000;
        self.offer(candidate);
    }
}

/// The smallest world that fails as `plan` does, found with at most `tries` runs; `None` if nothing is wrong with it.
pub fn shrink(plan: &Plan, tries: usize) -> Option<(Plan, Failure)> {
    shrink_by(plan, tries, |plan| run(plan).failure)
}

fn shrink_by(
    plan: &Plan,
    tries: usize,
    mut judge: impl FnMut(&Plan) -> Option<Failure>,
) -> Option<(Plan, Failure)> {
    let failure = judge(plan)?;
    let mut search = Search { judge, best: plan.clone(), checker: failure.checker(), failure, tries };
    loop {
        let before = search.best.clone();
        search.thin(|plan| &mut plan.faults);
        search.thin(|plan| &mut plan.ops);
        search.drop_users();
        search.calm();
        if search.best == before || search.tries == 0 {
            return Some((search.best, search.failure));
        }
    }
}

#[test]
fn a_world_is_not_shrunk_into_another_failure() {
    use super::{Size, Stage, Verb};

    let plan = Plan::from_seed(3, Size::Cluster);
    let is_dial = |plan: &Plan| plan.ops.iter().any(|op| op.verb == Verb::Dial);
    assert!(is_dial(&plan), "this seed's users dial");
    // Who dials leaves a stream behind; somebody is always away.
    let judge = |plan: &Plan| {
        let stream = format!("end 4 has {} streams\n", plan.ops.len());
        let absent = format!("user {} is not connected: None", plan.users.len());
        let stream = if is_dial(plan) { stream } else { String::new() };
        let text = format!("L: the world has not come to rest:\n{stream}{absent}");
        Some(Failure { stage: Stage::Heal, at: 0, event: 0, text, place: String::new() })
    };
    let (smallest, failure) = shrink_by(&plan, 5_000, judge).expect("it fails");
    let verbs: Vec<Verb> = smallest.ops.iter().map(|op| op.verb).collect();
    assert_eq!(verbs, [Verb::Dial], "{smallest}");
    assert_eq!(failure.head(), ["L: the world has not come to rest:", "end 4 has 1 streams"]);
    assert!(smallest.faults.is_empty() && smallest.users.len() == 1, "{smallest}");
}
