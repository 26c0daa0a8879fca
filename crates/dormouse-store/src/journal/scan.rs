//! Reading a journal that an earlier process left.
//!
//! The one question that matters is what a bad record means. Writing the last batch may have been
//! cut short anywhere, and then the journal simply ends before it. But a batch is only written once
//! all before it is durable, and says so in its records: a bad record that a later one calls durable
//! was damaged, and with it a transaction that somebody was told is safe.

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use super::JournalEnd;
use super::record::{Body, HEADER_BYTES, Header, RECORD_ALIGN, chain_after};
use super::segment::{HEADER_BLOCK_BYTES, SegmentFile, SegmentHeader, segment_number};
use crate::commit_log::Position;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::folder::io_error;

/// What to do about a bad record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadRecord {
    /// Refuse the journal if the record was durable.
    Refuse,
    /// End the journal there: the machine has gone down in mode `os`, so nothing was ever durable.
    EndThere,
    /// Go on behind it, and say what is missing: `dormouse repair`.
    Skip,
}

/// Positions that a journal ought to have and has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hole {
    pub segment: PathBuf,
    pub offset: u64,
    pub what: &'static str,
    /// The first position that is missing.
    pub first: Position,
    /// The first one that is there again.
    pub next: Position,
}

/// A valid record, and where it is.
#[derive(Debug)]
pub(crate) struct Found {
    /// Index into [`Scan::segments`].
    pub segment: usize,
    /// Where in it the record starts.
    pub offset: u64,
    pub header: Header,
    pub body: Body,
}

/// What is in a journal's folder.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Segments with records that were asked for, oldest first.
    pub segments: Vec<SegmentFile>,
    /// All others.
    pub unused: Vec<SegmentFile>,
    /// First number that no file has.
    pub next_number: u64,
    /// Where the valid records end.
    pub end: JournalEnd,
    /// What is missing; only with [`BadRecord::Skip`].
    pub holes: Vec<Hole>,
}

/// Reads all records from position `from` on, in order.
///
/// # Errors
///
/// [`OpenError::Damaged`] if one of them is bad although it was durable, unless `bad_record` says
/// otherwise. [`OpenError::Io`].
pub(crate) fn scan(
    disk: &dyn Disk,
    folder: &Path,
    folder_id: [u8; 16],
    from: Position,
    bad_record: BadRecord,
    visit: &mut dyn FnMut(Found),
) -> Result<Scan, OpenError> {
    let (mut used, mut scan) = list_segments(disk, folder, folder_id, before(from))?;
    // The last segment that begins at `from` or before is the first one that is asked for.
    let first = used.iter().rposition(|(header, _)| header.first <= from);
    let needed = used.split_off(first.unwrap_or(0));
    scan.unused.extend(used.into_iter().map(|(_, file)| file));
    let mut reader = Reader { from, bad_record, expected: from, chain: None, scan, visit };
    let headers: Vec<SegmentHeader> = needed.iter().map(|(header, _)| *header).collect();
    for (index, (header, file)) in needed.into_iter().enumerate() {
        let next = headers.get(index + 1);
        reader.scan.segments.push(file);
        if !reader.read_segment(index, header, next)? {
            break;
        }
    }
    Ok(reader.scan)
}

/// Looks at the journal of a folder that was closed cleanly: nothing in it is needed.
///
/// # Errors
///
/// [`OpenError::Io`].
pub(crate) fn survey(
    disk: &dyn Disk,
    folder: &Path,
    folder_id: [u8; 16],
    last: Position,
) -> Result<Scan, OpenError> {
    let (used, mut scan) = list_segments(disk, folder, folder_id, last)?;
    scan.unused.extend(used.into_iter().map(|(_, file)| file));
    Ok(scan)
}

/// The first position of the journal, as far back as segments follow on each other.
///
/// # Errors
///
/// [`OpenError::Io`].
pub(crate) fn oldest_position(
    disk: &dyn Disk,
    folder: &Path,
    folder_id: [u8; 16],
) -> Result<Option<Position>, OpenError> {
    let (used, _) = list_segments(disk, folder, folder_id, Position::ZERO)?;
    let mut newest_first = used.iter().rev().map(|(header, _)| header);
    let Some(mut oldest) = newest_first.next() else { return Ok(None) };
    for header in newest_first {
        if header.sequence + 1 != oldest.sequence {
            break;
        }
        oldest = header;
    }
    Ok(Some(oldest.first))
}

/// All segments with a header, oldest first, and a scan that has all others.
fn list_segments(
    disk: &dyn Disk,
    folder: &Path,
    folder_id: [u8; 16],
    last: Position,
) -> Result<(Vec<(SegmentHeader, SegmentFile)>, Scan), OpenError> {
    let mut scan = Scan::default();
    scan.end.position = last;
    let mut used = Vec::new();
    for path in disk.list(folder).map_err(|err| io_error("list", folder, err))? {
        let Some(number) = segment_number(&path) else { continue };
        scan.next_number = scan.next_number.max(number + 1);
        match open_segment(disk, &path, folder_id)? {
            SegmentFileKind::Used(header, file) => used.push((header, file)),
            SegmentFileKind::Unused(file) => scan.unused.push(file),
        }
    }
    used.sort_by_key(|(header, _)| header.sequence);
    if let Some((newest, _)) = used.last() {
        scan.end.sequence = newest.sequence;
        scan.end.chain = newest.chain;
    }
    Ok((used, scan))
}

fn open_segment(
    disk: &dyn Disk,
    path: &Path,
    folder_id: [u8; 16],
) -> Result<SegmentFileKind, OpenError> {
    let failed = |err| io_error("read", path, err);
    let file = disk.open(path).map_err(failed)?;
    let len = file.len().map_err(failed)?;
    let mut block = vec![0; usize::try_from(len.min(HEADER_BLOCK_BYTES)).unwrap_or(0)];
    file.read_at(&mut block, 0).map_err(failed)?;
    let file = SegmentFile { path: path.to_path_buf(), file };
    Ok(match SegmentHeader::decode(&block).filter(|header| header.folder_id == folder_id) {
        Some(header) => SegmentFileKind::Used(header, file),
        None => SegmentFileKind::Unused(file),
    })
}

enum SegmentFileKind {
    Used(SegmentHeader, SegmentFile),
    Unused(SegmentFile),
}

struct Reader<'a> {
    from: Position,
    bad_record: BadRecord,
    /// The position that has to come next.
    expected: Position,
    /// The chain value that it has to have; `None` where a hole or the start leaves it open.
    chain: Option<u64>,
    scan: Scan,
    visit: &'a mut dyn FnMut(Found),
}

impl Reader<'_> {
    /// Reads one segment up to where the next one begins. `false` if the journal ends in it.
    fn read_segment(
        &mut self,
        index: usize,
        header: SegmentHeader,
        next: Option<&SegmentHeader>,
    ) -> Result<bool, OpenError> {
        let bytes = self.load(index)?;
        self.begin_segment(index, header)?;
        let mut offset = usize::try_from(HEADER_BLOCK_BYTES).unwrap_or(usize::MAX);
        while next.is_none_or(|next| self.expected < next.first) {
            if let Some((record, body)) = self.read_record(&bytes, offset, header.nonce) {
                let start = offset;
                offset += record.record_bytes as usize;
                self.accept(index, start, record, body, &bytes[start..]);
                continue;
            }
            let resumes = find_valid(&bytes, offset, header.nonce, self.expected);
            if self.expected < self.from {
                // Nobody asked for the bad one, it only stands in the way.
                match resumes {
                    Some((at, record)) if record.position <= self.from => {
                        (offset, self.expected, self.chain) = (at, record.position, None);
                        continue;
                    }
                    None if next.is_none() => return Ok(false),
                    _ => self.expected = self.from,
                }
            }
            let proof = find_later(&bytes, offset, header.nonce, self.expected);
            let was_durable =
                next.is_some() || proof.is_some_and(|(_, later)| later.durable >= self.expected);
            match self.bad_record {
                BadRecord::EndThere => return Ok(false),
                BadRecord::Refuse | BadRecord::Skip if !was_durable => return Ok(false),
                BadRecord::Refuse => return Err(self.damaged(index, offset, "a bad record")),
                BadRecord::Skip => {}
            }
            let next_position = resumes
                .map(|(_, record)| record.position)
                .or(next.map(|next| next.first))
                .unwrap_or(self.expected.next());
            self.note_hole(index, offset, next_position);
            match resumes {
                Some((at, _)) => offset = at,
                None => break,
            }
        }
        Ok(next.is_some())
    }

    /// Checks that a segment goes on where the one before it ended.
    fn begin_segment(&mut self, index: usize, header: SegmentHeader) -> Result<(), OpenError> {
        let is_first = index == 0;
        let start = usize::try_from(HEADER_BLOCK_BYTES).unwrap_or(usize::MAX);
        if is_first && header.first <= self.expected {
            self.expected = header.first;
            self.chain = Some(header.chain);
            return Ok(());
        }
        if header.first == self.expected && self.chain.is_none_or(|chain| chain == header.chain) {
            self.chain = Some(header.chain);
            return Ok(());
        }
        if self.bad_record != BadRecord::Skip {
            return Err(self.damaged(index, start, "a segment before it is missing"));
        }
        if header.first > self.expected {
            self.note_hole(index, start, header.first);
        }
        self.chain = Some(header.chain);
        Ok(())
    }

    fn read_record(&self, bytes: &[u8], offset: usize, nonce: u64) -> Option<(Header, Body)> {
        let rest = bytes.get(offset..)?;
        let header = Header::decode(rest, nonce)?;
        let fits = header.position == self.expected
            && self.chain.is_none_or(|chain| chain == header.chain);
        fits.then(|| header.decode_body(rest)).flatten().map(|body| (header, body))
    }

    fn accept(&mut self, segment: usize, offset: usize, header: Header, body: Body, record: &[u8]) {
        let chain = chain_after(record);
        self.expected = header.position.next();
        self.chain = Some(chain);
        if header.position >= self.from {
            self.scan.end.position = header.position;
            (self.visit)(Found { segment, offset: offset as u64, header, body });
        }
        self.scan.end.chain = chain;
    }

    fn note_hole(&mut self, index: usize, offset: usize, next: Position) {
        if next > self.from {
            self.scan.holes.push(Hole {
                segment: self.scan.segments[index].path.clone(),
                offset: offset as u64,
                what: "bad or missing records",
                first: self.expected.max(self.from),
                next,
            });
            self.scan.end.position = self.scan.end.position.max(before(next));
        }
        self.expected = next;
        self.chain = None;
    }

    fn load(&self, index: usize) -> Result<Vec<u8>, OpenError> {
        let segment = &self.scan.segments[index];
        let failed = |err: io::Error| io_error("read", &segment.path, err);
        let len = segment.file.len().map_err(failed)?;
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
        segment.file.read_at(&mut bytes, 0).map_err(failed)?;
        Ok(bytes)
    }

    fn damaged(&self, index: usize, offset: usize, what: &'static str) -> OpenError {
        let segment = self.scan.segments[index].path.clone();
        OpenError::Damaged { segment, offset: offset as u64, what }
    }
}

/// The record behind `offset` that claims most to have been durable, if one comes after `expected`.
fn find_later(
    bytes: &[u8],
    offset: usize,
    nonce: u64,
    expected: Position,
) -> Option<(usize, Header)> {
    headers_behind(bytes, offset, nonce)
        .filter(|(_, header)| header.position > expected)
        .max_by_key(|(_, header)| header.durable)
}

/// The first record behind `offset` that is whole and not before `expected`.
fn find_valid(
    bytes: &[u8],
    offset: usize,
    nonce: u64,
    expected: Position,
) -> Option<(usize, Header)> {
    headers_behind(bytes, offset, nonce).find(|(at, header)| {
        header.position >= expected && header.decode_body(&bytes[*at..]).is_some()
    })
}

fn headers_behind(
    bytes: &[u8],
    offset: usize,
    nonce: u64,
) -> impl Iterator<Item = (usize, Header)> {
    (offset..bytes.len().saturating_sub(HEADER_BYTES))
        .step_by(RECORD_ALIGN)
        .filter_map(move |at| Header::decode(&bytes[at..], nonce).map(|header| (at, header)))
}

fn before(position: Position) -> Position {
    Position::new(position.get().saturating_sub(1))
}
