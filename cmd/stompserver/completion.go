package main

import (
	"github.com/spf13/cobra"
)

func newCompletionCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:       "completion SHELL",
		Short:     "Print a script that completes commands and flags in a shell",
		Long:      "Prints a completion script for bash, zsh, fish or powershell. For bash:\nsource <(stompserver completion bash)",
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		Args:      words(1, 1),
		RunE: func(cmd *cobra.Command, shell []string) error {
			root := cmd.Root()
			switch shell[0] {
			case "bash":
				return root.GenBashCompletionV2(g.Stdout, true)
			case "zsh":
				return root.GenZshCompletion(g.Stdout)
			case "fish":
				return root.GenFishCompletion(g.Stdout, true)
			case "powershell":
				return root.GenPowerShellCompletionWithDesc(g.Stdout)
			}
			return usageError("completion: bash, zsh, fish or powershell, not %q", shell[0])
		},
	}
}

// completeWith makes the shell complete the value of a flag with those words.
func completeWith(cmd *cobra.Command, name string, words ...string) {
	// It fails for a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

var ackModes = []string{"auto", "client", "client-individual"}
