"""What is kept and what can be asked: an interface (`interface`), and back ends that know a database."""
