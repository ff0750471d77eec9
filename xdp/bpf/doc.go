// Package bpf holds the eBPF programs of the room, in C, with the objects that
// a pinned clang made of them and the Go declarations that bpf2go made of
// those. Nothing here decides anything: the packages above load, attach and
// fill. It is safe for concurrent use as far as cilium/ebpf's types are.
package bpf

// -mcpu=v3 (32-bit registers and jumps, kernel 5.1) makes shorter programs; the
// programs need newer kernels than that for other reasons.

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -go-package bpf -cflags "-O2 -mcpu=v3 -Wall -Werror -Wno-unused-variable" Steer steer.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -go-package bpf -cflags "-O2 -mcpu=v3 -Wall -Werror -Wno-unused-variable" Direct direct.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -go-package bpf -cflags "-O2 -mcpu=v3 -Wall -Werror -Wno-unused-variable" Transit transit.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -go-package bpf -cflags "-O2 -mcpu=v3 -Wall -Werror -Wno-unused-variable" Perf perf.c
//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -cc clang-14 -strip llvm-strip-14 -target bpfel -go-package bpf -cflags "-O2 -mcpu=v3 -Wall -Werror -Wno-unused-variable" Traffic traffic.c
