package journal

// Abandon ends the connections and the renewing without giving the lease back, as
// a death does.
func (j *Journal) Abandon() {
	close(j.lease.stop)
	j.lease.ended.Wait()
	j.db.Close()
}
