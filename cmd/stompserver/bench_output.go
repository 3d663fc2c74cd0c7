package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"

	"stompserver/internal/loadgen"
)

// writeBenchText tells a result to people; count spells the numbers.
func writeBenchText(w io.Writer, r *loadgen.Result, count func(int64) string) error {
	ew := &errWriter{w: w}
	if r.Idle != nil {
		writeIdleText(ew, r.Idle, count)
		return ew.err
	}
	ew.printf("sent %s  %s/s  %.3g MB/s", count(r.Sent), count(int64(r.SentRate)), r.SentRate*float64(r.Size)/1e6)
	for _, l := range []struct {
		name string
		of   *loadgen.Latency
	}{{"latency", r.Latency}, {"receipt", r.Receipt}} {
		if l.of != nil {
			ew.printf("   %s p50 %s  p99 %s  p99.9 %s  max %s", l.name,
				millis(l.of.P50), millis(l.of.P99), millis(l.of.P999), millis(l.of.Max))
		}
	}
	if r.Receipts {
		ew.printf("  (receipts)\n")
	} else {
		ew.printf("  (no receipts)\n")
	}
	if r.Consumers > 0 {
		ew.printf("received %s  %s/s  in order per producer: %s  lost: %s  duplicated: %s", count(r.Received), count(int64(r.ReceivedRate)),
			yesNo(r.Disorder == 0), count(r.Lost), count(r.Duplicated))
		if r.TotalReceived != r.Received {
			ew.printf("  (%s checked)", count(r.TotalReceived))
		}
		if r.Foreign > 0 {
			ew.printf("  of others: %s", count(r.Foreign))
		}
		ew.printf("\n")
	}
	if r.Unconfirmed > 0 {
		ew.printf("receipts missing: %s\n", count(r.Unconfirmed))
	}
	if u := r.ServerUse; u != nil {
		ew.printf("server cpu %.2f s of %.1f s  %s messages, %.3g MB per CPU-second  memory %.1f MB (peak %.1f MB)  generator cpu %.2f s\n",
			u.CPU, r.Seconds, count(int64(u.PerCPUSecond)), u.BytesPerCPU/1e6, float64(u.RSS)/1e6, float64(u.RSSPeak)/1e6, r.GeneratorCPU)
	}
	return ew.err
}

func writeIdleText(ew *errWriter, u *loadgen.IdleUse, count func(int64) string) {
	ew.printf("%s %s with a subscription each, opened in %.2f s", count(int64(u.Connections)), plural(int64(u.Connections), "idle connection"), u.OpenSeconds)
	if u.RSSAfter > 0 {
		ew.printf("   server memory %.1f MB before, %.1f MB after: %.2f KiB a connection  cpu %.2f s",
			float64(u.RSSBefore)/1e6, float64(u.RSSAfter)/1e6, u.PerConnection/1024, u.CPU)
	}
	ew.printf("\n")
}

// writeBenchCSV writes a line of names and a line of values; what was not measured is empty.
func writeBenchCSV(w io.Writer, r *loadgen.Result) error {
	var names, values []string
	add := func(name string, known bool, v any) {
		names = append(names, name)
		text := ""
		if f, ok := v.(float64); ok && known {
			text = strconv.FormatFloat(f, 'f', -1, 64)
		} else if known {
			text = fmt.Sprint(v)
		}
		values = append(values, text)
	}
	add("server", true, r.Server)
	add("producers", true, r.Producers)
	add("consumers", true, r.Consumers)
	add("queues", true, r.Queues)
	add("topic", true, r.Topic)
	add("size", true, r.Size)
	add("ack", true, r.Ack)
	add("receipts", true, r.Receipts)
	add("rate", r.Rate > 0, r.Rate)
	add("seconds", true, r.Seconds)
	add("sent", true, r.Sent)
	add("received", true, r.Received)
	add("sent_per_second", true, r.SentRate)
	add("received_per_second", true, r.ReceivedRate)
	add("lost", true, r.Lost)
	add("duplicated", true, r.Duplicated)
	add("out_of_order", true, r.Disorder)
	latency := func(prefix string, l *loadgen.Latency) {
		known := l != nil
		if !known {
			l = &loadgen.Latency{}
		}
		add(prefix+"_p50_ms", known, l.P50)
		add(prefix+"_p99_ms", known, l.P99)
		add(prefix+"_p99_9_ms", known, l.P999)
		add(prefix+"_max_ms", known, l.Max)
	}
	latency("latency", r.Latency)
	latency("receipt", r.Receipt)
	u := r.ServerUse
	known := u != nil
	if !known {
		u = &loadgen.ServerUse{}
	}
	add("server_cpu_seconds", known, u.CPU)
	add("messages_per_cpu_second", known, u.PerCPUSecond)
	add("rss", known, u.RSS)
	add("rss_peak", known, u.RSSPeak)
	add("generator_cpu_seconds", true, r.GeneratorCPU)
	i := r.Idle
	known = i != nil
	if !known {
		i = &loadgen.IdleUse{}
	}
	add("idle_connections", known, i.Connections)
	add("rss_per_connection", known && i.RSSAfter > 0, i.PerConnection)
	add("problem", true, r.Problem)
	c := csv.NewWriter(w)
	if err := c.WriteAll([][]string{names, values}); err != nil {
		return err
	}
	return c.Error()
}

// errWriter keeps the first error of some writes.
type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) printf(format string, args ...any) {
	if e.err == nil {
		_, e.err = fmt.Fprintf(e.w, format, args...)
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// millis spells milliseconds with the digits that say something.
func millis(ms float64) string {
	switch {
	case ms < 1:
		return strconv.FormatFloat(ms, 'f', 3, 64) + " ms"
	case ms < 100:
		return strconv.FormatFloat(ms, 'f', 1, 64) + " ms"
	case ms < 10000:
		return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
	}
	return strconv.FormatFloat(ms/1000, 'f', 1, 64) + " s"
}
