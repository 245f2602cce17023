"""Fine-tuning: the one stage of training that looks at photos again, through a backbone that learns too."""
