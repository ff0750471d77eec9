package transfer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"sync"

	"dssn"
	"dssn/content"
)

// The journal of an unfinished Get stands beside its output, in
// .dssn/IDENTIFIER.journal, and says which ranges are verified and on disk. It
// begins with a head of 120 bytes and goes on with records of 32; integers are
// big-endian, checks are CRC-32C over the bytes before them:
//
//	 0               16        32             64         80        96       112     116
//	| "dssn-journal" | data id | content root | transfer | boot id | holder | check | zero |
//	| NUL NUL NUL 2  | 16      | 32           | 16       | 16      | 16     | 4     | 4    |
//
//	 0      4      8      16     24      28
//	| file | kind | from | to   | check | zero |
//	| 4    | 4    | 8    | 8    | 4     | 4    |
//
// file is the index in the manifest. Kind 0: verified, counted, on disk. Kind 1:
// counted once, but no longer on disk. Kind 2: on disk, verified in an earlier
// transfer from another holder and counted there. A record is written after its bytes and
// before they are acknowledged, so a killed Get never acknowledges less after
// than before. What follows the first bad record is a torn write and is
// ignored. Within one boot the page cache keeps that order; after another boot
// the ranges are checked again before they are believed.
const (
	journalMagic      = "dssn-journal\x00\x00\x00\x02"
	journalHeadSize   = 120
	journalRecordSize = 32
)

type journalKind uint32

const (
	kindHeld journalKind = iota
	kindCounted
	kindKept
)

// journalHead identifies the transfer that a journal belongs to.
type journalHead struct {
	data     dssn.DataID
	root     content.Digest
	transfer [transferIDDigits / 2]byte
	boot     [16]byte
	holder   dssn.NodeID
}

// journalRecord is one verified range.
type journalRecord struct {
	file uint32
	kind journalKind
	span span
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (h journalHead) append(b []byte) []byte {
	id := h.data.As16()
	at := len(b)
	b = append(b, journalMagic...)
	b = append(b, id[:]...)
	b = append(b, h.root[:]...)
	b = append(b, h.transfer[:]...)
	b = append(b, h.boot[:]...)
	holder := h.holder.DataID().As16()
	b = append(b, holder[:]...)
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
	return append(b, 0, 0, 0, 0)
}

func (r journalRecord) append(b []byte) []byte {
	at := len(b)
	be := binary.BigEndian
	b = be.AppendUint32(b, r.file)
	b = be.AppendUint32(b, uint32(r.kind))
	b = be.AppendUint64(b, uint64(r.span.from))
	b = be.AppendUint64(b, uint64(r.span.to))
	b = be.AppendUint32(b, crc32.Checksum(b[at:], castagnoli))
	return append(b, 0, 0, 0, 0)
}

// parseJournal reads a journal up to its first bad record. ok is false if not
// even the head is whole.
func parseJournal(b []byte) (h journalHead, records []journalRecord, ok bool) {
	be := binary.BigEndian
	if len(b) < journalHeadSize || string(b[:16]) != journalMagic ||
		be.Uint32(b[112:]) != crc32.Checksum(b[:112], castagnoli) || be.Uint32(b[116:]) != 0 {
		return journalHead{}, nil, false
	}
	h.data = dssn.DataIDFrom16([16]byte(b[16:32]))
	copy(h.root[:], b[32:])
	copy(h.transfer[:], b[64:])
	copy(h.boot[:], b[80:])
	if holder := dssn.DataIDFrom16([16]byte(b[96:112])); !holder.IsZero() {
		var err error
		if h.holder, err = dssn.NodeIDFrom(holder); err != nil {
			return journalHead{}, nil, false
		}
	}
	for b = b[journalHeadSize:]; len(b) >= journalRecordSize; b = b[journalRecordSize:] {
		r := journalRecord{be.Uint32(b), journalKind(be.Uint32(b[4:])), span{int64(be.Uint64(b[8:])), int64(be.Uint64(b[16:]))}}
		if be.Uint32(b[24:]) != crc32.Checksum(b[:24], castagnoli) || be.Uint32(b[28:]) != 0 ||
			r.kind > kindKept || r.span.from < 0 || r.span.from >= r.span.to {
			break
		}
		records = append(records, r)
	}
	return h, records, true
}

// journal is an open journal. Safe for concurrent use.
type journal struct {
	mu   sync.Mutex
	file *os.File
	buf  [journalRecordSize]byte
}

// journalName returns the path of the journal below the output folder.
func journalName(id dssn.DataID) string {
	return content.ReservedName + "/" + strings.ReplaceAll(id.String(), ":", "-") + ".journal"
}

// readJournal returns what an earlier Get left, or ok false.
func readJournal(out *os.Root, id dssn.DataID) (journalHead, []journalRecord, bool) {
	f, err := out.Open(journalName(id))
	if err != nil {
		return journalHead{}, nil, false
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return journalHead{}, nil, false
	}
	return parseJournal(b)
}

// startJournal writes a new journal that begins with records, in place of an
// earlier one.
func startJournal(out *os.Root, h journalHead, records []journalRecord) (*journal, error) {
	b := h.append(make([]byte, 0, journalHeadSize+journalRecordSize*len(records)))
	for _, r := range records {
		b = r.append(b)
	}
	name := journalName(h.data)
	f, err := out.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err == nil {
		if _, err = f.Write(b); err == nil {
			err = out.Rename(name+".new", name)
		}
		if err != nil {
			f.Close()
			out.Remove(name + ".new")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("write the journal of the transfer: %w", err)
	}
	return &journal{file: f}, nil
}

// add appends one record.
func (j *journal) add(r journalRecord) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(r.append(j.buf[:0])); err != nil {
		return fmt.Errorf("write the journal of the transfer: %w", err)
	}
	return nil
}

// bootID tells one boot of this host from another; all zero if it is not known,
// which equals no other.
func bootID() (id [16]byte) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return id
	}
	sum := content.Hash(bytes.TrimSpace(b))
	return [16]byte(sum[:16])
}
