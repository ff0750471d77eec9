// Package iperf speaks iperf3's protocol, so that a stock iperf3 can test
// against us and we against it: TCP and UDP, parallel, reverse and
// bidirectional, by time, bytes or blocks, with results in iperf3's JSON.
//
// iperf3 publishes no specification; what is said here was learnt from its
// packets (versions 3.9 to 3.12) and holds for them. A test is
//
//	client                                   server
//	  | -- TCP connect, 37-byte cookie ------> |   control connection
//	  | <------------- state ParamExchange --- |   one byte per state
//	  | -- length, JSON Params --------------> |   4-byte big-endian length
//	  | <------------- state CreateStreams --- |
//	  | == one connection per stream ========> |   TCP: cookie; UDP: hello, reply
//	  | <--- states TestStart, TestRunning --- |
//	  | ............ data, either way ........ |
//	  | -- state TestEnd --------------------> |
//	  | <----------- state ExchangeResults --- |
//	  | -- length, JSON Results -------------> |
//	  | <-------------- length, JSON Results - |
//	  | <------------ state DisplayResults --- |
//	  | -- state Done -----------------------> |
//
// Client and Server are shells around blocking sockets; the arithmetic (Params,
// Results, UDP sequence accounting, pacing) takes time as an argument. A Server
// runs one test at a time, as iperf3 does, and may be used from one goroutine.
package iperf
