"""Parts of AutoPromptSAM alone: agents, their run, the replay of their steps. AdaptSAMLib has what is shared."""
