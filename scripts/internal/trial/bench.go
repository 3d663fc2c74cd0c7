//go:build linux

package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Build builds stompserver into dir, from the repository in whose top directory this runs
// (which it tells), and says where it is.
func Build(ctx context.Context, dir string) (tool, root string, err error) {
	if root, err = os.Getwd(); err != nil {
		return "", "", err
	}
	if _, err := os.Stat(filepath.Join(root, "scripts", "internal", "trial")); err != nil {
		return "", "", fmt.Errorf("run it in the repository's top directory: %w", err)
	}
	tool = filepath.Join(dir, "stompserver")
	if err := Do(ctx, root, "go", "build", "-o", tool, "./cmd/stompserver"); err != nil {
		return "", "", fmt.Errorf("building stompserver: %w", err)
	}
	return tool, root, nil
}

// An Outcome is the part of bench's JSON that is wanted here.
type Outcome struct {
	Seconds      float64 `json:"seconds"`
	SentRate     float64 `json:"sent_per_second"`
	ReceivedRate float64 `json:"received_per_second"`
	Lost         int64   `json:"lost"`
	Duplicated   int64   `json:"duplicated"`
	Disorder     int64   `json:"out_of_order"`
	Unconfirmed  int64   `json:"unconfirmed"`
	Problem      string  `json:"problem"`
	Latency      *struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
	} `json:"latency_ms"`
	Use *struct {
		PerCPU   float64 `json:"messages_per_cpu_second"`
		BytesCPU float64 `json:"bytes_per_cpu_second"`
		RSS      float64 `json:"rss"`
	} `json:"server_use"`
	Idle *struct {
		PerConnection float64 `json:"rss_per_connection"`
	} `json:"idle"`
}

// Bench runs `stompserver bench`.
func Bench(ctx context.Context, tool string, args ...string) (out Outcome, err error) {
	cmd := exec.CommandContext(ctx, tool, append([]string{"bench", "--json", "--quiet"}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	text, err := cmd.Output()
	if len(text) == 0 && err != nil {
		if ctx.Err() != nil {
			return out, errors.New("it hung")
		}
		return out, errors.New(strings.TrimPrefix(strings.TrimSpace(said.String()), "stompserver: "))
	}
	return out, json.Unmarshal(text, &out)
}

// Flaw says what was not right, "" if nothing.
func (o *Outcome) Flaw() string {
	switch {
	case o.Problem != "":
		return o.Problem
	case o.Lost > 0:
		return fmt.Sprintf("lost %d", o.Lost)
	case o.Duplicated > 0:
		return fmt.Sprintf("duplicated %d", o.Duplicated)
	case o.Disorder > 0:
		return "out of order"
	}
	return ""
}
