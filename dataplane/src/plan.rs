//! Plans out, results in.
//!
//! The order within a plan, and between plans, is what keeps packets flowing: addresses are put on before the routes that use
//! them as a source, routes are written before others are deleted, and addresses are taken off last, when nothing uses them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use petiole_prefix::Family;

use crate::dataplane::{Dataplane, Dump, InFlight, is_ours};
use crate::ident::ADDRESS_PROTOCOL;
use crate::kernel::{Address, KernelError, LinkIndex, Plan, PlanId, Put, RouteKey, Step, StepResult};
use crate::retry::{EADDRNOTAVAIL, EIO, ESRCH, Object, Verdict};
use crate::state::{AddressWant, Sweep};
use crate::values::Effective;

impl Dataplane {
    /// The next steps. `None` when there are none, a plan is under way, or the mirror must be brought up to date first.
    pub fn poll_plan(&mut self, now: Duration) -> Option<Plan> {
        self.now = now;
        if !self.mirrored || self.in_flight.is_some() || (self.dump_first && self.dump_since().is_none()) {
            return None;
        }
        let limit = self.settings.plan_limit.max(1);
        let mut steps = self.address_puts();
        while steps.len() < limit
            && let Some(key) = self.puts.pop_first()
        {
            steps.extend(self.put_step(&key));
        }
        // There is room only when no write is left.
        while steps.len() < limit
            && let Some(key) = self.deletes.pop_first()
        {
            steps.extend(self.delete_step(&key));
        }
        if self.puts.is_empty() && self.deletes.is_empty() {
            steps.extend(self.address_deletes());
        }
        if steps.is_empty() {
            return None;
        }
        let keys: BTreeSet<RouteKey> = steps.iter().filter_map(Step::route_key).copied().collect();
        if let Dump::Asked { touched, .. } | Dump::Running { touched, .. } = &mut self.dump {
            touched.extend(&keys);
        }
        self.next_plan += 1;
        let id = PlanId(self.next_plan);
        let beside_dump = self.dump_since().is_some();
        self.in_flight = Some(InFlight { id, steps: steps.clone(), keys, beside_dump });
        Some(Plan { id, steps })
    }

    /// The kernel's answers to a plan, one per step. An answer that is missing counts as a failure of the step.
    pub fn handle_done(&mut self, id: PlanId, results: Vec<StepResult>, now: Duration) {
        self.now = now;
        let Some(plan) = self.in_flight.take_if(|p| p.id == id) else { return };
        let mut results = results.into_iter();
        for step in plan.steps {
            let result = results.next().unwrap_or_else(|| Err(no_answer()));
            match &result {
                Ok(()) => self.counters.steps_done += 1,
                Err(error) => {
                    self.counters.steps_failed += 1;
                    // What is there instead, neither the dump nor the answer says.
                    self.dump_wanted |= Verdict::of(error) == Verdict::Resync || plan.beside_dump;
                }
            }
            self.step_done(step, result);
        }
        self.dump_first = self.dump_wanted;
    }

    fn step_done(&mut self, step: Step, result: StepResult) {
        match (step, result) {
            (Step::AddAddress(address), Ok(())) => self.put_address(address),
            (Step::DeleteAddress(address), Ok(())) => self.take_address(&address),
            (Step::DeleteAddress(address), Err(error)) if error.errno == EADDRNOTAVAIL => self.take_address(&address),
            (Step::AddAddress(a) | Step::DeleteAddress(a), Err(error)) => {
                // Somebody else may have done it meanwhile, or nobody wants it any more.
                if self.is_address_due(a.addr, a.len) {
                    self.refuse(Object::Address(a.addr, a.len), error);
                }
            }
            (Step::PutRoute(key, route, _), Ok(())) => {
                self.failures.clear(&Object::Route(key));
                self.set_have(&key, Some(&route));
            }
            (Step::DeleteRoute(key, _), Ok(())) => {
                self.failures.clear(&Object::Route(key));
                self.set_have(&key, None);
            }
            (Step::DeleteRoute(key, _), Err(error)) if error.errno == ESRCH => {
                self.failures.clear(&Object::Route(key));
                self.set_have(&key, None);
            }
            (Step::PutRoute(key, ..) | Step::DeleteRoute(key, _), Err(error)) => {
                self.refuse(Object::Route(key), error);
                self.reassess(&key);
            }
        }
    }

    fn refuse(&mut self, object: Object, error: KernelError) {
        self.failures.refuse(object, error, self.backoff(), self.now);
    }

    fn put_step(&self, key: &RouteKey) -> Option<Step> {
        let entry = self.table.get(key);
        let Effective::Write(id) = self.values.effective(entry.want?) else { return None };
        let put = if entry.have.is_some() { Put::Replace } else { Put::Create };
        Some(Step::PutRoute(*key, self.values.route(id)?.clone(), put))
    }

    fn delete_step(&self, key: &RouteKey) -> Option<Step> {
        Some(Step::DeleteRoute(*key, self.values.route(self.table.get(key).have?)?.clone()))
    }

    /// Wanted addresses that are not on `lo`, those that may become a source first. One of ours that differs is taken off and
    /// put on again: the kernel changes neither scope nor length in place.
    fn address_puts(&self) -> Vec<Step> {
        let Some(lo) = self.mirror.loopback().map(|l| l.index) else { return Vec::new() };
        let mut wants: Vec<&AddressWant> = self.address_wants.values().filter(|want| !self.is_put(want)).collect();
        wants.sort_by_key(|w| (w.deprecated, w.scope, w.addr, w.len));
        let mut steps = Vec::new();
        for want in wants {
            if self.failures.blocks(&Object::Address(want.addr, want.len), self.now) {
                continue;
            }
            let held = self.find_on_loopback(want.addr, want.len);
            steps.extend(held.map(|held| Step::DeleteAddress(held.clone())));
            steps.push(Step::AddAddress(to_put(want, lo)));
        }
        steps
    }

    /// Whether the address is on `lo` as far as that is ours to see to.
    fn is_put(&self, want: &AddressWant) -> bool {
        self.find_on_loopback(want.addr, want.len).is_some_and(|held| {
            !is_ours(held) || is_as_wanted(held, want) || (held.len != want.len && self.is_wanted(held))
        })
    }

    /// Whether a step is still to be taken for an address: to put it on, or to take it off.
    pub(crate) fn is_address_due(&self, addr: IpAddr, len: u8) -> bool {
        match self.address_wants.get(&(addr, len)) {
            Some(want) => !self.is_put(want),
            None => self.find_on_loopback(addr, len).is_some_and(|held| held.len == len && self.is_left_over(held)),
        }
    }

    /// Whether an address on `lo` is ours, nothing wants it and no route of ours uses it.
    fn is_left_over(&self, address: &Address) -> bool {
        is_ours(address)
            && !self.is_wanted(address)
            && !self.is_replaced(address)
            && !self.values.held().any(|(_, r)| r.prefsrc == Some(address.addr))
    }

    /// Addresses of ours that nothing wants and no route of ours uses.
    fn address_deletes(&self) -> Vec<Step> {
        if !self.swept.contains(&Sweep::Addresses) {
            return Vec::new();
        }
        self.mirror
            .on_loopback()
            .filter(|a| self.is_left_over(a) && !self.failures.blocks(&Object::Address(a.addr, a.len), self.now))
            .map(|a| Step::DeleteAddress(a.clone()))
            .collect()
    }

    /// What occupies the place of an address on `lo`: IPv4 tells addresses apart by their length too, IPv6 does not.
    pub(crate) fn find_on_loopback(&self, addr: IpAddr, len: u8) -> Option<&Address> {
        let exact = self.mirror.on_loopback().find(|a| a.addr == addr && a.len == len);
        match Family::of(addr) {
            Family::V4 => exact,
            Family::V6 => exact.or_else(|| self.mirror.on_loopback().find(|a| a.addr == addr)),
        }
    }

    fn is_wanted(&self, address: &Address) -> bool {
        self.address_wants.contains_key(&(address.addr, address.len))
    }

    /// Whether [`Self::address_puts`] already takes it off, to put it on with another length.
    fn is_replaced(&self, address: &Address) -> bool {
        Family::of(address.addr) == Family::V6 && self.address_wants.keys().any(|&(addr, _)| addr == address.addr)
    }

    pub(crate) fn has_address_steps(&self) -> bool {
        !self.address_puts().is_empty() || !self.address_deletes().is_empty()
    }
}

fn to_put(want: &AddressWant, lo: LinkIndex) -> Address {
    Address {
        link: lo,
        addr: want.addr,
        len: want.len,
        scope: want.scope,
        deprecated: want.deprecated,
        protocol: ADDRESS_PROTOCOL,
    }
}

/// Whether the address is as wanted; the scope of an IPv6 address is not ours to choose.
pub(crate) fn is_as_wanted(held: &Address, want: &AddressWant) -> bool {
    held.len == want.len
        && held.deprecated == want.deprecated
        && (held.scope == want.scope || Family::of(held.addr) == Family::V6)
}

fn no_answer() -> KernelError {
    KernelError { errno: EIO, detail: Some("the driver gave no answer for this step".to_owned()) }
}
