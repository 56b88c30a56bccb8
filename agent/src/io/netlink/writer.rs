//! Batches of writes: many messages in one system call, one acknowledgement for all of them, and one answer per refusal.

use std::io;
use std::time::Duration;

use netlink_packet_core::NlasIterator;
use netlink_sys::Socket;
use petiole_node::dataplane::{KernelError, Step, StepResult};
use socket2::SockRef;

use super::socket::{DATAGRAM, NLMSG_ERROR, messages, request};
use super::{EIO, encode};

/// Most steps in one batch: the answers to all of them fit into the receive buffer.
const BATCH_STEPS: usize = 256;

/// A batch is sent when it is this long, in bytes: well below the default send buffer of 208 KiB.
const BATCH_BYTES: usize = 32 << 10;

/// The kernel works inside the send call, so that the answer is there when it returns; longer means that it is lost.
const ANSWER: Duration = Duration::from_secs(5);

/// The socket that writes.
#[derive(Debug)]
pub(super) struct Writer {
    socket: Socket,
    sequence: u32,
    out: Vec<u8>,
}

impl Writer {
    /// Also returns the port number that marks notifications of what is written here.
    pub(super) fn open() -> io::Result<(Self, u32)> {
        let (socket, port) = request()?;
        SockRef::from(&socket).set_read_timeout(Some(ANSWER))?;
        Ok((Self { socket, sequence: 0, out: Vec::new() }, port))
    }

    /// Carries out the steps in order. A refused one does not stop those after it.
    pub(super) fn apply(&mut self, steps: &[Step]) -> Vec<StepResult> {
        let mut results = Vec::with_capacity(steps.len());
        let mut rest = steps;
        while !rest.is_empty() {
            let count = self.encode(rest);
            let (batch, later) = rest.split_at(count);
            self.run(batch.len(), &mut results);
            rest = later;
        }
        results
    }

    /// Fills the buffer with as many steps as fit; returns how many.
    fn encode(&mut self, steps: &[Step]) -> usize {
        self.out.clear();
        let mut count = 0_usize;
        let mut last = 0;
        for step in steps.iter().take(BATCH_STEPS) {
            last = self.out.len();
            self.sequence = self.sequence.wrapping_add(1);
            encode::step(step, self.sequence, false, &mut self.out);
            count += 1;
            if self.out.len() >= BATCH_BYTES {
                break;
            }
        }
        // Only the last is acknowledged when all goes well.
        if let Some(step) = steps.get(count.saturating_sub(1)) {
            self.out.truncate(last);
            encode::step(step, self.sequence, true, &mut self.out);
        }
        count
    }

    fn run(&mut self, count: usize, results: &mut Vec<StepResult>) {
        let start = results.len();
        results.resize(start + count, Ok(()));
        let Some(answers) = results.get_mut(start..) else { return };
        if let Err(error) = self.exchange(answers) {
            // What was carried out is not known: the mirror has to be compared with the kernel.
            let lost = KernelError { errno: EIO, detail: Some(format!("no answer from the kernel: {error}")) };
            answers.iter_mut().filter(|a| a.is_ok()).for_each(|a| *a = Err(lost.clone()));
        }
    }

    /// Sends the buffer and collects refusals until the last message of the batch is answered.
    fn exchange(&self, answers: &mut [StepResult]) -> io::Result<()> {
        self.socket.send(&self.out, 0)?;
        let last = self.sequence;
        let mut datagram = Vec::with_capacity(DATAGRAM);
        loop {
            datagram.clear();
            match self.socket.recv(&mut datagram, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            for message in messages(&datagram).filter(|m| m.message_type() == NLMSG_ERROR) {
                // Late answers to an earlier batch have smaller numbers.
                let before = last.wrapping_sub(message.sequence_number());
                let place = usize::try_from(before).ok().and_then(|b| answers.len().checked_sub(b + 1));
                let Some(answer) = place.and_then(|p| answers.get_mut(p)) else { continue };
                if let Some(error) = refusal(message.flags(), message.payload()) {
                    *answer = Err(error);
                }
                if before == 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// `struct nlmsgerr`: the negative errno, the header of our message, then the extended ACK's attributes.
fn refusal(flags: u16, payload: &[u8]) -> Option<KernelError> {
    let code = payload.first_chunk().copied().map(i32::from_ne_bytes)?;
    if code == 0 {
        return None;
    }
    let words = (flags & NLM_F_ACK_TLVS != 0).then(|| extended_ack(flags, payload)).flatten();
    Some(KernelError { errno: code.saturating_abs(), detail: words })
}

fn extended_ack(flags: u16, payload: &[u8]) -> Option<String> {
    let echoed = if flags & NLM_F_CAPPED != 0 {
        NLMSG_HEADER
    } else {
        usize::try_from(payload.get(4..).and_then(<[u8]>::first_chunk).copied().map(u32::from_ne_bytes)?).ok()?
    };
    let attributes = payload.get(4 + echoed.next_multiple_of(4)..)?;
    NlasIterator::new(attributes).map_while(Result::ok).find(|a| a.kind() == NLMSGERR_ATTR_MSG).map(|a| {
        let text = a.value().split(|&b| b == 0).next().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    })
}

// `include/uapi/linux/netlink.h`.
const NLMSG_HEADER: usize = 16;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;
