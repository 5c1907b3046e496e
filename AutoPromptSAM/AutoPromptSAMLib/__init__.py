"""What only AutoPromptSAM needs: agents, their run, the replay of their steps. AdaptSAMLib has what is shared."""
