package journal

import (
	"database/sql"
	"fmt"
)

// The evidence log's leaves and tree hashes live beside the journal, so that
// one file is the whole memory. Package evidence says what they mean.

// LogSize returns how many leaves there are.
func (j *Journal) LogSize() (n int64, err error) {
	err = j.db.QueryRow("SELECT coalesce(max(idx) + 1, 0) FROM log_leaf").Scan(&n)
	return n, err
}

// AppendLog writes leaves from index first on and hashes from hashIndex on, in
// one durable transaction.
func (j *Journal) AppendLog(first int64, leaves [][]byte, hashIndex int64, hashes [][32]byte) error {
	err := j.tx(func(tx *sql.Tx) error {
		for i, l := range leaves {
			if _, err := tx.Exec(j.sql("INSERT INTO log_leaf (idx, data) VALUES (?, ?)"), first+int64(i), l); err != nil {
				return err
			}
		}
		for i, h := range hashes {
			if _, err := tx.Exec(j.sql("INSERT INTO log_hash (idx, hash) VALUES (?, ?)"), hashIndex+int64(i), h[:]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("append %d leaves to the evidence log: %w", len(leaves), err)
	}
	return nil
}

// LogLeaves returns the leaves from index first up to but not including end.
func (j *Journal) LogLeaves(first, end int64) (out [][]byte, err error) {
	rows, err := j.db.Query(j.sql("SELECT data FROM log_leaf WHERE idx >= ? AND idx < ? ORDER BY idx"), first, end)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var b []byte
		if err := rows.Scan(&b); err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if int64(len(out)) != end-first {
		return nil, fmt.Errorf("the evidence log lacks leaves between %d and %d", first, end)
	}
	return out, nil
}

// LogHashes returns stored hashes by index.
func (j *Journal) LogHashes(indexes []int64) ([][32]byte, error) {
	out := make([][32]byte, len(indexes))
	if len(indexes) == 0 {
		return out, nil
	}
	st, err := j.db.Prepare(j.sql("SELECT hash FROM log_hash WHERE idx = ?"))
	if err != nil {
		return nil, err
	}
	defer st.Close()
	for i, x := range indexes {
		var b []byte
		if err := st.QueryRow(x).Scan(&b); err != nil {
			return nil, fmt.Errorf("evidence log hash %d: %w", x, err)
		}
		if copy(out[i][:], b) != 32 {
			return nil, fmt.Errorf("evidence log hash %d has %d bytes", x, len(b))
		}
	}
	return out, nil
}
