"""What several tests build their inputs with, and the slow references they compare against."""
