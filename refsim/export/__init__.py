"""Operations written down for other tools to run."""
