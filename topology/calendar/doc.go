// Package calendar keeps promises about capacity over time.
//
// A Calendar knows, for every link, how much of it is promised from when to when.
// A reservation holds a rate on one path during a window; a bulk transfer is a
// volume to be moved between two instants, over several paths and at changing
// rates. Admit and AdmitBulk either book, or refuse with the reason and the best
// offer; they never touch what was promised before. At every instant the promises
// on a link stay within its capacity.
//
//	link     promised
//	A>B      ▁▁▁▁████████▆▆▆▆▁▁▁▁▁▁
//	B>C      ▁▁▁▁▁▁▁▁▂▂▂▂▂▂▂▂▂▂▁▁▁▁
//	               now        time →
//
// Time is an argument, in whole seconds where it enters (parts of a second are
// widened outwards, so that a promise never gains). A Calendar is not safe for
// concurrent use; it does no I/O. Refusals are *Refused.
package calendar
