package evidence

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The C2SP tlog-witness protocol, but for HTTP: what is posted to a witness's
// add-checkpoint and what its answers mean.

// WitnessRequest is the body that asks a witness, which has cosigned old leaves
// before, to cosign the log's checkpoint of size leaves.
func (l *Log) WitnessRequest(old, size int64, checkpoint []byte) ([]byte, error) {
	if old < 0 || old > size {
		return nil, fmt.Errorf("ask a witness: it has seen %d leaves of a log of %d", old, size)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "old %d\n", old)
	if old > 0 && old < size {
		proof, err := tlog.ProveTree(size, old, l.reader(0, nil))
		if err != nil {
			return nil, fmt.Errorf("prove that the log of %d leaves begins with its first %d: %w", size, old, err)
		}
		for _, h := range proof {
			b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
		}
	}
	b.WriteByte('\n')
	b.Write(checkpoint)
	return []byte(b.String()), nil
}

// WitnessSize reads how many leaves a witness has seen, from its answer 409.
func WitnessSize(body []byte) (int64, error) {
	s := strings.TrimSuffix(string(body), "\n")
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, fmt.Errorf("the witness answers with %.40q instead of a number of leaves", body)
	}
	return n, nil
}

// maxWitnessLines bounds the signature lines of an answer.
const maxWitnessLines = 16

// TakeCosignature returns, from a witness's answer 200, the lines that are this
// witness's good cosignatures of the checkpoint; it ignores others.
func TakeCosignature(checkpoint, answer []byte, w Witness) (lines string, err error) {
	v, err := NewCosigner(w.Key)
	if err != nil {
		return "", err
	}
	text, _, found := strings.Cut(string(checkpoint), "\n\n")
	if !found {
		return "", fmt.Errorf("the checkpoint is no signed note")
	}
	n := 0
	for line := range strings.Lines(string(answer)) {
		if n++; n > maxWitnessLines {
			return "", fmt.Errorf("the witness %s answers with more than %d lines", w.Name, maxWitnessLines)
		}
		if !strings.HasSuffix(line, "\n") {
			return "", fmt.Errorf("the witness %s answers with half a line", w.Name)
		}
		if _, err := note.Open([]byte(text+"\n\n"+line), note.VerifierList(v)); err == nil {
			lines += line
		}
	}
	if lines == "" {
		return "", fmt.Errorf("the answer of the witness %s has no cosignature by the key that the policy names: compare the keys", w.Name)
	}
	return lines, nil
}

// SetPublished makes a checkpoint of this log, with the witnesses' lines, the one
// that is served and that receipts refer to where they can.
func (l *Log) SetPublished(msg []byte) error {
	tree, _, err := OpenCheckpoint(msg, l.verifier)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if tree.N > l.size {
		return fmt.Errorf("a published checkpoint has %d leaves, but the log only %d: the log was cut; restore the last backup", tree.N, l.size)
	}
	if tree.N > 0 {
		root, err := tlog.TreeHash(tree.N, l.reader(0, nil))
		if err != nil {
			return fmt.Errorf("root of the evidence log: %w", err)
		}
		if root != tree.Hash {
			return fmt.Errorf("the first %d leaves of the evidence log are not those that were published: one of them was changed; restore the last backup", tree.N)
		}
	}
	if l.published == nil || tree.N >= l.publishedSize {
		l.published, l.publishedSize = append([]byte(nil), msg...), tree.N
	}
	return nil
}

// Published returns the checkpoint that was set last and its size, or the
// newest where none was.
func (l *Log) Published() (msg []byte, size int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.published != nil {
		return l.published, l.publishedSize, nil
	}
	msg, err = l.checkpointLocked()
	return msg, l.size, err
}

// Head returns the newest checkpoint, signed by the log only, and its size.
func (l *Log) Head() (msg []byte, size int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	msg, err = l.checkpointLocked()
	return msg, l.size, err
}
